#include "trainer/eval/extract.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/log.h"
#include "data/tokenizer_pattern.h"
#include "data/trimmed.h"

namespace spt {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
// Bytes of letters outside ASCII count as letters: "É" is no border of a word.
bool is_letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || static_cast<unsigned char>(c) >= 0x80;
}

std::optional<Extracted> first_letter(std::string_view text, int64_t options) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] < 'A' || text[i] >= 'A' + options) continue;
    const char before = i > 0 ? text[i - 1] : ' ', after = i + 1 < text.size() ? text[i + 1] : ' ';
    if (before == '(' && after == ')') return Extracted{std::string(1, text[i]), "letter in parentheses"};
    // "A's" and "A1" are words; so are the parts of "don't".
    const auto joins = [](char c) { return is_letter(c) || is_digit(c) || c == '\'' || c == '_'; };
    if (!joins(before) && !joins(after)) return Extracted{std::string(1, text[i]), "letter alone"};
  }
  return std::nullopt;
}

std::optional<Extracted> first_yes_or_no(std::string_view text) {
  std::string word;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && (is_letter(text[i]) || is_digit(text[i]))) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
      continue;
    }
    if (word == "yes" || word == "no") return Extracted{word, "word"};
    word.clear();
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> first_number(std::string_view written) {
  std::string text(written);
  std::erase(text, ',');
  size_t begin = 0;
  while (begin < text.size() && !is_digit(text[begin])) ++begin;
  if (begin == text.size()) return std::nullopt;
  size_t end = begin;
  while (end < text.size() && is_digit(text[end])) ++end;
  std::string number = text.substr(begin, end - begin);
  if (end < text.size() && text[end] == '.') {
    size_t last = end + 1;
    while (last < text.size() && is_digit(text[last])) ++last;
    std::string fraction = text.substr(end + 1, last - end - 1);
    fraction.erase(fraction.find_last_not_of('0') + 1);
    if (!fraction.empty()) number += "." + fraction;
  }
  if (begin > 0 && text[begin - 1] == '-') number.insert(number.begin(), '-');
  return number;
}

Extractor::Extractor(std::string name) : name_(std::move(name)) {
  if (name_ != "number" && name_ != "letter" && name_ != "yes_no") Regex{name_};
}

std::optional<Extracted> Extractor::find(std::string_view text, int64_t options) const {
  if (name_ == "letter") return first_letter(text, std::min<int64_t>(options, 26));
  if (name_ == "yes_no") return first_yes_or_no(text);
  if (name_ == "number") {
    const auto number = first_number(text);
    return number ? std::optional(Extracted{*number, "number"}) : std::nullopt;
  }
  std::optional<Span> span;
  try {
    span = Regex(name_).find_first(text);
  } catch (const BadInput& error) {  // gave up on this text: an answer in which nothing is found
    spdlog::warn("{}", error.what());
  }
  return span ? std::optional(Extracted{trimmed(text.substr(span->begin, span->end - span->begin)), "pattern"})
              : std::nullopt;
}

}  // namespace spt
