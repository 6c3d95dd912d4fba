#include "data/annotator.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <sstream>
#include <string_view>
#include <unordered_set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/sha256.h"
#include "data/config_file.h"
#include "data/named_config.h"
#include "data/sentences.h"

namespace spt {
namespace {

size_t count_of(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

std::string filled(std::string text, std::string_view placeholder, std::string_view by) {
  return text.replace(text.find(placeholder), placeholder.size(), by);
}

std::vector<Regex> compile(const std::vector<std::string>& patterns, const char* key, const ConfigValues& values) {
  std::vector<Regex> compiled;
  for (const std::string& pattern : patterns) {
    try {
      compiled.emplace_back(pattern);
    } catch (const BadInput& error) {
      throw BadInput(fmt::format("{}: {}: {}", values.at(key).where, key, error.what()));
    }
  }
  return compiled;
}

// The first text that one of the patterns finds.
std::optional<std::string> found_by(const std::vector<Regex>& patterns, const std::string& text) {
  for (const Regex& pattern : patterns)
    if (const std::vector<Span> spans = pattern.find_all(text); !spans.empty())
      return text.substr(spans[0].begin, spans[0].end - spans[0].begin);
  return std::nullopt;
}

int64_t count_words(const std::string& text) {
  std::istringstream stream(text);
  int64_t words = 0;
  for (std::string word; stream >> word;) ++words;
  return words;
}

// Lower-case words without punctuation; other alphabets' bytes count as letters.
std::vector<std::string> plain_words(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || std::isalnum(byte) != 0)
      words.back() += static_cast<char>(byte < 0x80 ? std::tolower(byte) : byte);
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

// Every `n` words in a row, joined by blanks, in the text's order.
std::vector<std::string> word_runs(const std::string& text, size_t n) {
  const std::vector<std::string> words = plain_words(text);
  std::vector<std::string> runs;
  for (size_t i = 0; i + n <= words.size(); ++i)
    runs.push_back(fmt::format("{}", fmt::join(&words[i], &words[i] + n, " ")));
  return runs;
}

// The first run of `n` words that stands in the text before, too; the two may overlap, as in "the the the".
std::optional<std::string> repeated_run(const std::string& text, size_t n) {
  std::unordered_set<std::string> seen;
  for (const std::string& run : word_runs(text, n))
    if (!seen.insert(run).second) return run;
  return std::nullopt;
}

}  // namespace

void AnnotatorConfig::Checks::validate(std::vector<std::string>& errors) const {
  if (min_words < 0) errors.push_back(fmt::format("min_words is {}, must be at least 0", min_words));
  if (max_words < std::max<int64_t>(min_words, 1))
    errors.push_back(fmt::format("max_words is {}, must be at least min_words ({}) and 1", max_words, min_words));
  if (max_sentences < 1) errors.push_back(fmt::format("max_sentences is {}, must be at least 1", max_sentences));
  if (repeated_words < 0) errors.push_back(fmt::format("repeated_words is {}, must be at least 0", repeated_words));
  if (answer_words < 0) errors.push_back(fmt::format("answer_words is {}, must be at least 0", answer_words));
  if (prefix.find('\n') != std::string::npos) errors.emplace_back("prefix has a line end in it");
}

void AnnotatorConfig::validate(std::vector<std::string>& errors) const {
  const auto placeholder = [&](const char* key, const std::string& text, const char* name) {
    if (const size_t count = count_of(text, name); count != 1)
      errors.push_back(fmt::format("{} has {} {} times, must have it once", key, name, count));
  };
  placeholder("question", question, "{question}");
  placeholder("correction", correction, "{fault}");
  if (example.question.empty() != example.role.empty())
    errors.emplace_back("example.question and example.role go together: give both or none");
  if (attempts < 1) errors.push_back(fmt::format("attempts is {}, must be at least 1", attempts));
  if (max_new_tokens < 1) errors.push_back(fmt::format("max_new_tokens is {}, must be at least 1", max_new_tokens));
  if (neutral.role.empty() && !(neutral.answers.empty() && neutral.ids.empty()))
    errors.emplace_back("neutral.role is missing: neutral.answers and neutral.ids name records that get it");
}

Annotator::Annotator(const std::string& name_or_file) {
  const std::filesystem::path file = named_config("annotators", name_or_file);
  const ConfigValues values = load_config_values(file, {});
  config_ = read_fields_of<AnnotatorConfig>(file, values);
  sha256_ = sha256_file(file);
  refusals_ = compile(config_.checks.refusals, "checks.refusals", values);
  not_a_role_ = compile(config_.checks.not_a_role, "checks.not_a_role", values);
  neutral_answers_ = compile(config_.neutral.answers, "neutral.answers", values);
  const auto must_pass = [&](const char* key, const std::string& role) {
    if (role.empty()) return;
    if (const auto fault = fault_of_form(role))
      throw BadInput(fmt::format("{}: {} does not pass this file's own checks: {}", values.at(key).where, key, *fault));
  };
  must_pass("example.role", config_.example.role);
  must_pass("neutral.role", config_.neutral.role);
}

ChatPrompt Annotator::prompt(const Record& record, const std::vector<Refused>& refused) const {
  ChatPrompt prompt;
  prompt.system = config_.system;
  if (!config_.example.question.empty()) {
    prompt.turns.push_back(filled(config_.question, "{question}", config_.example.question));
    prompt.turns.push_back(config_.example.role);
  }
  prompt.turns.push_back(filled(config_.question, "{question}", record.turns[0]));
  for (const auto& [text, fault] : refused) {
    prompt.turns.push_back(text.empty() ? "(nothing)" : text);  // endpoints refuse an empty turn
    prompt.turns.push_back(filled(config_.correction, "{fault}", fault));
  }
  return prompt;
}

std::optional<std::string> Annotator::fault_of_form(const std::string& role) const {
  const AnnotatorConfig::Checks& checks = config_.checks;
  if (role.empty()) return "it is empty";
  if (const auto found = found_by(refusals_, role)) return fmt::format("it is a refusal (\"{}\")", *found);
  if (!role.starts_with(checks.prefix)) return fmt::format("it does not begin with \"{}\"", checks.prefix);
  if (find_blank_line(role)) return "it has a blank line in it";
  if (const auto found = found_by(not_a_role_, role)) return fmt::format("it holds more than a role (\"{}\")", *found);
  if (const int64_t words = count_words(role); words < checks.min_words || words > checks.max_words)
    return fmt::format("it has {} words, expected {} to {}", words, checks.min_words, checks.max_words);
  if (checks.repeated_words > 0)
    if (const auto run = repeated_run(role, static_cast<size_t>(checks.repeated_words)))
      return fmt::format("it repeats itself (\"{}\")", *run);
  if (const auto count = static_cast<int64_t>(sentences_of(role).size()); count > checks.max_sentences)
    return fmt::format("it has {} sentences, expected at most {}", count, checks.max_sentences);
  return std::nullopt;
}

std::optional<std::string> Annotator::fault_of(const std::string& role, const Record& record) const {
  if (auto fault = fault_of_form(role)) return fault;
  const auto n = static_cast<size_t>(config_.checks.answer_words);
  if (n == 0 || record.turns.size() < 2) return std::nullopt;
  const auto runs_of = [n](const std::string& text) {
    const std::vector<std::string> runs = word_runs(text, n);
    return std::set<std::string>(runs.begin(), runs.end());
  };
  const std::set<std::string> answer = runs_of(record.turns[1]), question = runs_of(record.turns[0]);
  for (const std::string& run : word_runs(role, n))
    if (answer.contains(run) && !question.contains(run)) return fmt::format("it holds answer text (\"{}\")", run);
  return std::nullopt;
}

std::optional<std::string> Annotator::neutral_role(const Record& record) const {
  const std::vector<std::string>& ids = config_.neutral.ids;
  const bool named = std::find(ids.begin(), ids.end(), record.id) != ids.end();
  const bool refuses = record.turns.size() > 1 && found_by(neutral_answers_, record.turns[1]);
  return named || refuses ? std::optional(config_.neutral.role) : std::nullopt;
}

}  // namespace spt
