// What spt inspect found, on a terminal. Everything goes through `printable`: nothing in a file can speak to the
// terminal.
#pragma once

#include <nlohmann/json.hpp>

namespace spt {

// A key a line; objects indented below theirs, a list of objects as a table.
void print_facts(const nlohmann::ordered_json& facts);

// `bins`: [{"begin", "end", "count"}, …], a bar a line.
void print_histogram(const nlohmann::ordered_json& bins);

}  // namespace spt
