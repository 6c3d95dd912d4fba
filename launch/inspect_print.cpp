#include "launch/inspect_print.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "data/printable.h"
#include "launch/table.h"

namespace spt {
namespace {

using nlohmann::ordered_json;

std::string text_of(const ordered_json& value) {
  if (value.is_null()) return "none";
  if (value.is_string()) return printable(value.get<std::string>());
  if (value.is_number_float()) return fmt::format("{:.6g}", value.get<double>());
  std::string text;
  if (value.is_object()) {
    for (const auto& [key, item] : value.items())
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", printable(key), text_of(item));
    return text;
  }
  if (!value.is_array()) return value.dump();
  for (const ordered_json& item : value) text += (text.empty() ? "" : ", ") + text_of(item);
  return "[" + text + "]";
}

// Padded by characters, which fmt's own width of bytes is not.
std::string cell(const std::string& text, size_t width, bool right) {
  const std::string pad(width - std::min(width, columns_of(text)), ' ');
  return right ? pad + text : text + pad;
}

bool is_table(const ordered_json& value) {
  return value.is_array() && !value.empty() && value[0].is_object();
}

void print_table(const ordered_json& rows, size_t indent) {
  std::vector<std::string> names;
  for (const auto& [name, value] : rows[0].items()) names.push_back(name);
  std::vector<std::vector<std::string>> cells = {names};
  for (const ordered_json& row : rows) {
    std::vector<std::string>& line = cells.emplace_back();
    for (const std::string& name : names) line.push_back(text_of(row[name]));
  }
  std::vector<size_t> widths(names.size());
  for (const auto& line : cells)
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], columns_of(line[i]));
  for (const auto& line : cells) {
    std::string text(indent, ' ');
    for (size_t i = 0; i < line.size(); ++i) text += cell(line[i], widths[i], rows[0][names[i]].is_number()) + "  ";
    fmt::print("{}\n", text.substr(0, text.find_last_not_of(' ') + 1));
  }
}

void print_facts(const ordered_json& facts, size_t indent) {
  size_t width = 20;
  for (const auto& [key, value] : facts.items()) width = std::max(width, columns_of(printable(key)) + 2);
  for (const auto& [key, value] : facts.items()) {
    const std::string name = std::string(indent, ' ') + cell(printable(key), width, false);
    if (value.is_object() || is_table(value)) {
      fmt::print("{}\n", name.substr(0, name.find_last_not_of(' ') + 1));
      value.is_object() ? print_facts(value, indent + 2) : print_table(value, indent + 2);
      continue;
    }
    std::string text = text_of(value);
    const std::string next_line = "\n" + std::string(indent + width, ' ');
    for (size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + next_line.size()))
      text.replace(at, 1, at + 1 == text.size() ? "" : next_line);
    fmt::print("{}{}\n", name, text);
  }
}

}  // namespace

void print_facts(const ordered_json& facts) {
  print_facts(facts, 0);
}

void print_histogram(const ordered_json& bins) {
  constexpr int64_t kWidth = 50;
  int64_t most = 1;
  for (const ordered_json& bin : bins) most = std::max(most, bin["count"].get<int64_t>());
  for (const ordered_json& bin : bins) {
    const auto count = bin["count"].get<int64_t>();
    std::string bar;
    for (int64_t i = 0; i < (count * kWidth + most - 1) / most; ++i) bar += "█";
    fmt::print("  {:>7} – {:<7} {:>7}  {}\n", bin["begin"].get<int64_t>(), bin["end"].get<int64_t>() - 1, count, bar);
  }
}

}  // namespace spt
