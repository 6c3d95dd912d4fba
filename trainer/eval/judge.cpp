#include "trainer/eval/judge.h"

#include <algorithm>
#include <cctype>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/sha256.h"
#include "data/config_file.h"
#include "data/json_text.h"
#include "data/named_config.h"
#include "data/trimmed.h"

namespace spt {
namespace {

using nlohmann::json;

// A longer line is no verdict, and a pattern of the user's could take its time on it.
constexpr size_t kLongestVerdict = 1000;  // bytes

// Digits that stand in none of the texts, the same for both orders of the answers.
std::string mark_for(const Judge::Question& question) {
  const auto [smaller, larger] = std::minmax(question.first, question.second);
  std::string digits = sha256_hex(json{question.text, smaller, larger}.dump());
  while (true) {
    const std::string mark = digits.substr(0, 8);
    const auto has_it = [&](const std::string& text) { return text.find(mark) != std::string::npos; };
    if (!has_it(question.text) && !has_it(question.first) && !has_it(question.second)) return mark;
    digits = sha256_hex(digits);
  }
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return text;
}

// Adds what is wrong with the fields in braces of a key's text.
void check_fields(const char* key, const std::string& text, const std::vector<std::string>& required,
                  const std::vector<std::string>& optional, std::vector<std::string>& errors) {
  try {
    const std::vector<std::string> given = FieldText(text).fields();
    const std::set<std::string> names(given.begin(), given.end());
    std::set<std::string> known(required.begin(), required.end());
    for (const std::string& name : required)
      if (!names.contains(name)) errors.push_back(fmt::format("{} has no {{{}}} in it", key, name));
    known.insert(optional.begin(), optional.end());
    for (const std::string& name : names)
      if (!known.contains(name))
        errors.push_back(fmt::format("{} has {{{}}}; its fields are {}, and {{{{ and }}}} are braces", key, name,
                                     fmt::join(known, ", ")));
  } catch (const BadInput& error) {
    errors.push_back(fmt::format("{} has {}", key, error.what()));
  }
}

}  // namespace

void JudgeConfig::Reading::validate(std::vector<std::string>& errors) const {
  if (pattern.empty()) errors.emplace_back("pattern is missing: how a reply's last line is read");
  try {
    const Regex compiled(pattern);
  } catch (const BadInput& error) {
    errors.push_back(fmt::format("pattern: {}", error.what()));
  }
  if (std::set<std::string>{lower_case(first), lower_case(second), lower_case(tie)}.size() < 3)
    errors.push_back(
        fmt::format("first, second and tie are '{}', '{}' and '{}', must be three verdicts", first, second, tie));
}

void JudgeConfig::validate(std::vector<std::string>& errors) const {
  check_fields("prompt", prompt, {"question", "first", "second"}, {"mark"}, errors);
  check_fields("correction", correction, {"fault"}, {}, errors);
  if (attempts < 1) errors.push_back(fmt::format("attempts is {}, must be at least 1", attempts));
  if (max_new_tokens < 1) errors.push_back(fmt::format("max_new_tokens is {}, must be at least 1", max_new_tokens));
}

Judge Judge::load(const std::string& name_or_file) {
  const std::filesystem::path file = named_config("judges", name_or_file);
  return {name_or_file, sha256_file(file), read_fields_of<JudgeConfig>(file, load_config_values(file, {}))};
}

Judge::Judge(std::string name, std::string sha256, JudgeConfig config)
    : name_(std::move(name)),
      sha256_(std::move(sha256)),
      config_(std::move(config)),
      prompt_(config_.prompt),
      correction_(config_.correction),
      pattern_(config_.verdict.pattern) {}

ChatPrompt Judge::prompt(const Question& question, const std::vector<Refused>& refused) const {
  ChatPrompt prompt;
  prompt.system = config_.system;
  prompt.turns.push_back(prompt_.fill({{"question", question.text},
                                       {"first", question.first},
                                       {"second", question.second},
                                       {"mark", mark_for(question)}}));
  for (const auto& [reply, fault] : refused) {
    prompt.turns.push_back(reply.empty() ? "(nothing)" : reply);  // endpoints refuse an empty turn
    prompt.turns.push_back(correction_.fill({{"fault", fault}}));
  }
  return prompt;
}

Judge::Reading Judge::read(const std::string& reply) const {
  const std::string text = trimmed(reply);
  if (text.empty()) return {std::nullopt, "it is empty"};
  const std::string line = text.substr(text.find_last_of("\r\n") + 1);  // npos + 1 is 0
  const std::vector<Span> found = line.size() > kLongestVerdict ? std::vector<Span>() : pattern_.find_all(line);
  if (!found.empty()) {
    const std::string last = line.substr(found.back().begin, found.back().end - found.back().begin);
    if (const auto group = pattern_.find_first(last)) {
      const std::string word = lower_case(last.substr(group->begin, group->end - group->begin));
      for (const auto& [verdict, name] :
           {std::pair(Verdict::kFirst, config_.verdict.first), std::pair(Verdict::kSecond, config_.verdict.second),
            std::pair(Verdict::kTie, config_.verdict.tie)})
        if (word == lower_case(name)) return {verdict, ""};
    }
  }
  return {std::nullopt, fmt::format("its last line is {}, which is no verdict", brief(line))};
}

}  // namespace spt
