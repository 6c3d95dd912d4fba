// A table as people, scripts and papers read it. Names and texts may come from outside: in every form they pass through
// data/printable.h, and a tab or line feed in them is written \t or \n.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace spt {

// People read four digits after the point.
struct Signed {  // with its sign: a difference
  double value = 0;
};
struct Probability {  // one that four digits would round to 0 is "<0.0001"
  double value = 0;
};
using Cell = std::variant<std::monostate, std::string, int64_t, double, Signed, Probability>;

struct Table {
  struct Column {
    std::string name;
    bool is_text = false;  // to the left; numbers stand to the right
  };
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;  // a cell a column
};

// Columns of a terminal that valid UTF-8 takes, one a character.
size_t columns_of(std::string_view text);

// Text on one line that cannot speak to the terminal.
std::string on_one_line(std::string_view text);

// For a terminal: columns aligned, "-" where there is nothing.
std::string aligned_table(const Table& table);

// Cells divided by tabs, all digits; empty where there is nothing.
std::string tab_separated_table(const Table& table);

// [{COLUMN: value, …}, …], a row an object, numbers with all digits, null where there is nothing. ASCII only. A name
// that another column has already is followed by '.
std::string json_table(const Table& table);

// Each cell as people read it, row by row; empty where there is nothing.
std::vector<std::vector<std::string>> rounded_cells(const Table& table);

// A tabular that needs no package, "--" where there is nothing.
std::string latex_table(const Table& table);

}  // namespace spt
