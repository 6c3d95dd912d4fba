// Comma-separated values as RFC 4180 has them: cells in double quotes may hold commas, line ends and, doubled, quotes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spt {

struct CsvRow {
  int64_t line;  // where it begins, from 1
  std::vector<std::string> cells;
};

// Rows end with LF or CRLF; empty lines are skipped, and so is a byte order mark. Throws BadInput with `origin` and the
// line: a quoted cell that does not end, or goes on after its quote.
std::vector<CsvRow> parse_csv(std::string_view text, const std::string& origin);

}  // namespace spt
