#include "data/tokenizer_pattern.h"

#include <algorithm>
#include <optional>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <pcre2.h>

#include "base/error.h"
#include "data/json_text.h"
#include "data/utf8.h"

namespace spt {
namespace {

std::string pcre_message(int error) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

PCRE2_SPTR bytes_of(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

const pcre2_code* code_of(const std::shared_ptr<const void>& code) {
  return static_cast<const pcre2_code*>(code.get());
}

}  // namespace

Regex::Regex(const std::string& pattern) : pattern_(pattern) {
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(bytes_of(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error,
                                   &offset, context.get());
  if (!code)
    throw BadInput(
        fmt::format("regular expression '{}' is not understood at byte {}: {}", pattern, offset, pcre_message(error)));
  // Where the machine forbids new executable memory this fails, and matching goes on by the interpreter: the same
  // result.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  code_ = std::shared_ptr<const void>(
      code, [](const void* p) { pcre2_code_free(const_cast<pcre2_code*>(static_cast<const pcre2_code*>(p))); });
}

std::optional<Span> Regex::find_first(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(code_of(code_), nullptr), pcre2_match_data_free);
  const int found =
      pcre2_match(code_of(code_), bytes_of(text), text.size(), 0, PCRE2_NO_UTF_CHECK, match.get(), nullptr);
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0)
    throw BadInput(fmt::format("regular expression '{}' fails on a text of {} bytes: {}", pattern_, text.size(),
                               pcre_message(found)));
  uint32_t groups = 0;
  pcre2_pattern_info(code_of(code_), PCRE2_INFO_CAPTURECOUNT, &groups);
  const size_t group = groups > 0 ? 1 : 0;
  const PCRE2_SIZE* at = pcre2_get_ovector_pointer(match.get());
  if (group >= static_cast<size_t>(found) || at[2 * group] == PCRE2_UNSET) return std::nullopt;
  return Span{at[2 * group], at[2 * group + 1]};
}

std::vector<Span> Regex::find_all(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(code_of(code_), nullptr), pcre2_match_data_free);
  std::vector<Span> spans;
  size_t from = 0;
  while (from <= text.size()) {
    const int found =
        pcre2_match(code_of(code_), bytes_of(text), text.size(), from, PCRE2_NO_UTF_CHECK, match.get(), nullptr);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0)
      throw BadInput(fmt::format("regular expression '{}' fails on a text of {} bytes: {}", pattern_, text.size(),
                                 pcre_message(found)));
    const PCRE2_SIZE* at = pcre2_get_ovector_pointer(match.get());
    if (at[1] > at[0]) {
      spans.push_back({at[0], at[1]});
      from = at[1];
    } else {
      from = at[1] + std::max<size_t>(1, utf8_length(text.substr(at[1])));
    }
  }
  return spans;
}

Pattern read_pattern(const nlohmann::json& json) {
  if (json.is_object() && json.contains("String")) {
    const std::string text = json.at("String");
    if (text.empty()) throw BadInput("a pattern String is empty");
    return text;
  }
  if (json.is_object() && json.contains("Regex")) return Regex(json.at("Regex").get<std::string>());
  refuse_kind("pattern", brief(json), "String, Regex");
}

std::vector<Span> find_all(const Pattern& pattern, std::string_view text) {
  if (const Regex* regex = std::get_if<Regex>(&pattern)) return regex->find_all(text);
  const std::string& wanted = std::get<std::string>(pattern);
  std::vector<Span> spans;
  for (size_t at = text.find(wanted); at != std::string_view::npos; at = text.find(wanted, at + wanted.size()))
    spans.push_back({at, at + wanted.size()});
  return spans;
}

std::string replace_all(const Pattern& pattern, std::string_view text, std::string_view by) {
  std::string result;
  result.reserve(text.size());
  size_t done = 0;
  for (const Span& span : find_all(pattern, text)) {
    result.append(text, done, span.begin - done).append(by);
    done = span.end;
  }
  return result.append(text, done);
}

std::string kind_of(const nlohmann::json& json) {
  return json.is_object() ? json.value("type", "without a type") : brief(json);
}

void refuse_kind(const std::string& part, const std::string& kind, const std::string& known) {
  throw BadInput(fmt::format("{} '{}' is not supported; known are {}", part, kind, known));
}

}  // namespace spt
