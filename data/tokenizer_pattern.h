// Patterns of tokenizer.json. Its Unicode regular expressions run by PCRE2 with UTF and UCP. Hugging Face uses
// Oniguruma in Ruby's syntax:
// `^` and `$` match at each line, `.` stops at a line feed. The patterns in use mean the same in both; the one known
// difference is U+180E, which is white space for PCRE2 and not for Oniguruma.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace spt {

struct Span {
  size_t begin, end;  // bytes
};

class Regex {
 public:
  // Throws BadInput with the pattern and PCRE2's reason when it does not compile.
  explicit Regex(const std::string& pattern);

  // All matches from left to right, not overlapping, empty ones left out. `text` must be UTF-8. Throws BadInput when
  // the pattern backtracks beyond PCRE2's limits on this text. Safe to call from several threads.
  std::vector<Span> find_all(std::string_view text) const;
  // The first group of the first match, or the whole match where the pattern has no group; nullopt: no match, or one
  // without that group. Errors as find_all.
  std::optional<Span> find_first(std::string_view text) const;

 private:
  std::string pattern_;
  std::shared_ptr<const void> code_;
};

// A literal string, not empty, or a regular expression.
using Pattern = std::variant<std::string, Regex>;

// From {"String": …} or {"Regex": …}; another kind throws BadInput.
Pattern read_pattern(const nlohmann::json& json);

// All occurrences from left to right, not overlapping.
std::vector<Span> find_all(const Pattern& pattern, std::string_view text);
std::string replace_all(const Pattern& pattern, std::string_view text, std::string_view by);

// The "type" of a part of tokenizer.json, and the error for one that is not `known`.
std::string kind_of(const nlohmann::json& json);
[[noreturn]] void refuse_kind(const std::string& part, const std::string& kind, const std::string& known);

}  // namespace spt
