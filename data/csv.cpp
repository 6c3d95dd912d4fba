#include "data/csv.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"

namespace spt {
namespace {

class Parser {
 public:
  Parser(std::string_view text, const std::string& origin) : rest_(text), origin_(origin) {
    if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);
  }

  std::vector<CsvRow> parse() {
    std::vector<CsvRow> rows;
    while (!rest_.empty()) {
      if (take_line_end()) continue;
      CsvRow& row = rows.emplace_back(CsvRow{line_, {}});
      do {
        row.cells.push_back(rest_.starts_with('"') ? quoted() : plain());
      } while (take(","));
      if (!rest_.empty() && !take_line_end()) fail(line_, "text follows the closing quote of a cell");
    }
    return rows;
  }

 private:
  [[noreturn]] void fail(int64_t line, const char* message) const {
    throw BadInput(fmt::format("{}:{}: {}; double a quote that belongs to the text", origin_, line, message));
  }
  bool take(std::string_view expected) {
    const bool there = rest_.starts_with(expected);
    if (there) rest_.remove_prefix(expected.size());
    return there;
  }
  bool take_line_end() {
    const bool there = take("\n") || take("\r\n");
    line_ += there;
    return there;
  }

  std::string plain() {
    size_t end = std::min(rest_.find_first_of(",\n"), rest_.size());
    if (end > 0 && end < rest_.size() && rest_[end] == '\n' && rest_[end - 1] == '\r') --end;
    std::string cell(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return cell;
  }

  std::string quoted() {
    const int64_t begin = line_;
    std::string cell;
    rest_.remove_prefix(1);
    while (true) {
      const size_t quote = rest_.find('"');
      if (quote == std::string_view::npos) fail(begin, "a quoted cell has no end");
      cell += rest_.substr(0, quote);
      rest_.remove_prefix(quote + 1);
      if (!take("\"")) break;
      cell += '"';
    }
    line_ += std::count(cell.begin(), cell.end(), '\n');
    return cell;
  }

  std::string_view rest_;
  const std::string& origin_;
  int64_t line_ = 1;
};

}  // namespace

std::vector<CsvRow> parse_csv(std::string_view text, const std::string& origin) {
  return Parser(text, origin).parse();
}

}  // namespace spt
