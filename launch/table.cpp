#include "launch/table.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/printable.h"

namespace spt {
namespace {

// As people read it; empty where there is nothing.
struct Rounded {
  std::string operator()(std::monostate) const { return {}; }
  std::string operator()(const std::string& text) const { return on_one_line(text); }
  std::string operator()(int64_t count) const { return std::to_string(count); }
  std::string operator()(double value) const { return fmt::format("{:.4f}", value); }
  std::string operator()(Signed difference) const {
    return std::abs(difference.value) < kHalfDigit ? "0.0000" : fmt::format("{:+.4f}", difference.value);
  }
  std::string operator()(Probability p) const {
    return p.value < kHalfDigit ? "<0.0001" : fmt::format("{:.4f}", p.value);
  }
  static constexpr double kHalfDigit = 5e-5;
};

struct Exact : Rounded {
  using Rounded::operator();
  std::string operator()(double value) const { return fmt::format("{}", value); }
  std::string operator()(Signed difference) const { return fmt::format("{}", difference.value); }
  std::string operator()(Probability p) const { return fmt::format("{}", p.value); }
};

struct AsJson {
  nlohmann::ordered_json operator()(std::monostate) const { return nullptr; }
  nlohmann::ordered_json operator()(const std::string& text) const { return printable(text); }
  nlohmann::ordered_json operator()(int64_t count) const { return count; }
  nlohmann::ordered_json operator()(double value) const { return value; }  // null where it is not finite
  nlohmann::ordered_json operator()(Signed difference) const { return difference.value; }
  nlohmann::ordered_json operator()(Probability p) const { return p.value; }
};

std::string latex_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\textbackslash{}";
    else if (c == '~')
      out += "\\textasciitilde{}";
    else if (c == '^')
      out += "\\textasciicircum{}";
    else if (c == '<')
      out += "\\textless{}";
    else if (c == '>')
      out += "\\textgreater{}";
    else if (std::string_view("&%$#_{}").find(c) != std::string_view::npos)
      out += std::string("\\") + c;
    else
      out += c;
  }
  return out;
}

std::string latex_cell(const Cell& cell) {
  const std::string text = std::visit(Rounded{}, cell);
  if (std::holds_alternative<Signed>(cell)) return "$" + text + "$";  // a minus, not a hyphen
  return text.empty() ? "--" : latex_escaped(text);
}

// The names of the columns and every row, each cell made text by `write` and divided by `divider`.
template <class Write>
std::vector<std::string> lines_of(const Table& table, const std::string& divider, Write write) {
  std::vector<std::string> lines(1 + table.rows.size());
  for (size_t column = 0; column < table.columns.size(); ++column) {
    const std::string before = column == 0 ? "" : divider;
    lines[0] += before + write(Cell(table.columns[column].name), column);
    for (size_t row = 0; row < table.rows.size(); ++row)
      lines[row + 1] += before + write(table.rows[row][column], column);
  }
  return lines;
}

}  // namespace

size_t columns_of(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string on_one_line(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else
      out += c;
  }
  return out;
}

std::string aligned_table(const Table& table) {
  const auto text_of = [](const Cell& cell) {
    const std::string text = std::visit(Rounded{}, cell);
    return text.empty() ? "-" : text;
  };
  std::vector<size_t> widths;
  for (size_t column = 0; column < table.columns.size(); ++column) {
    widths.push_back(columns_of(on_one_line(table.columns[column].name)));
    for (const auto& row : table.rows) widths.back() = std::max(widths.back(), columns_of(text_of(row[column])));
  }
  const auto pad = [&](const Cell& cell, size_t column) {
    const std::string text = text_of(cell);
    const std::string spaces(widths[column] - columns_of(text), ' ');
    return table.columns[column].is_text ? text + spaces : spaces + text;
  };
  std::string out;
  for (const std::string& line : lines_of(table, "  ", pad)) out += line + "\n";
  return out;
}

std::string tab_separated_table(const Table& table) {
  std::string out;
  for (const std::string& line :
       lines_of(table, "\t", [](const Cell&cell, size_t) { return std::visit(Exact{}, cell); }))
    out += line + "\n";
  return out;
}

std::string json_table(const Table& table) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& row : table.rows) {
    nlohmann::ordered_json& object = rows.emplace_back(nlohmann::ordered_json::object());
    for (size_t column = 0; column < table.columns.size(); ++column) {
      std::string name = printable(table.columns[column].name);
      while (object.contains(name)) name += '\'';  // a run may be called as another column is
      object[name] = std::visit(AsJson{}, row[column]);
    }
  }
  return rows.dump(2, ' ', true) + "\n";
}

std::vector<std::vector<std::string>> rounded_cells(const Table& table) {
  std::vector<std::vector<std::string>> cells;
  for (const auto& row : table.rows) {
    std::vector<std::string>& line = cells.emplace_back();
    for (const Cell& cell : row) line.push_back(std::visit(Rounded{}, cell));
  }
  return cells;
}

std::string latex_table(const Table& table) {
  const auto lines = lines_of(table, " & ", [](const Cell& cell, size_t) { return latex_cell(cell); });
  std::string out = "\\begin{tabular}{";
  for (const Table::Column& column : table.columns) out += column.is_text ? 'l' : 'r';
  out += "}\n\\hline\n" + lines[0] + " \\\\\n\\hline\n";
  for (size_t row = 1; row < lines.size(); ++row) out += lines[row] + " \\\\\n";
  return out + "\\hline\n\\end{tabular}\n";
}

}  // namespace spt
