// The lines of an answer, and the code block in it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace spt {

using Lines = std::vector<std::string>;

// Without their ends, whether "\n" or "\r\n".
Lines lines_of(const std::string& text);
// The number of spaces and tabs in front; all of a blank line.
size_t indentation(const std::string& line);
bool blank(const std::string& line);

// Of the first block fenced by ``` or ~~~ that names no language or Python; to the end where its end is missing.
std::optional<Lines> first_code_block(const Lines& lines);

}  // namespace spt
