#include "trainer/eval/role_statistics.h"

#include <algorithm>
#include <utility>

#include "data/word_ngrams.h"

namespace spt {
namespace {

constexpr std::string_view kSpaces = " \t\r";

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// The next word of `text`, which loses it; a word ends at white space.
std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(kSpaces));
  text.remove_prefix(word.size());
  return word;
}

bool ends_expert(std::string_view word) {
  return std::find(std::begin(kExpertEnds), std::end(kExpertEnds), word) != std::end(kExpertEnds);
}

}  // namespace

std::string expert_of(std::string_view role) {
  constexpr std::string_view kBeginning = "You are ";
  if (!role.starts_with(kBeginning)) return {};
  std::string phrase(role.substr(kBeginning.size()));
  // A point inside a word ("Ph.D", "node.js") ends nothing.
  for (size_t i = 0; i < phrase.size(); ++i) {
    const bool is_inner_point = phrase[i] == '.' && i + 1 < phrase.size() &&
                                kSpaces.find(phrase[i + 1]) == std::string_view::npos && phrase[i + 1] != '\n';
    if (std::string_view(".,;:()!?\n").find(phrase[i]) == std::string_view::npos || is_inner_point) continue;
    phrase.resize(i);
  }
  std::transform(phrase.begin(), phrase.end(), phrase.begin(), lower);
  std::string expert;
  std::string_view rest = phrase, behind = rest;
  if (const std::string_view article = take_word(behind); article == "a" || article == "an" || article == "the")
    rest = behind;
  for (size_t words = 0; words < kExpertWords;) {
    const std::string_view word = take_word(rest);
    if (word.empty() || ends_expert(word)) break;
    expert += (words++ == 0 ? "" : " ") + std::string(word);
  }
  return expert;
}

void RoleStatistics::add(const AnsweredSample& sample) {
  if (!sample.answer) return;  // options that were scored: nothing was written
  ++answers;
  asked_to_extract += sample.asks_for_extraction;
  nothing_extracted += sample.asks_for_extraction && !sample.extracted;
  cut += sample.cut.value_or(false);
  if (!sample.role) return;
  if (sample.role_is_given) {
    ++given;
    return;
  }
  ++with_role;
  words.push_back(static_cast<int64_t>(words_of(*sample.role).size()));
  ++experts[expert_of(*sample.role)];
}

void RoleStatistics::add(const RoleStatistics& other) {
  answers += other.answers;
  with_role += other.with_role;
  given += other.given;
  asked_to_extract += other.asked_to_extract;
  nothing_extracted += other.nothing_extracted;
  cut += other.cut;
  words.insert(words.end(), other.words.begin(), other.words.end());
  for (const auto& [expert, count] : other.experts) experts[expert] += count;
}

std::vector<std::pair<std::string, int64_t>> top_experts(const RoleStatistics& roles, size_t most) {
  std::vector<std::pair<std::string, int64_t>> sorted(roles.experts.begin(), roles.experts.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& x, const auto& y) { return x.second > y.second; });
  sorted.resize(std::min(most, sorted.size()));
  return sorted;
}

}  // namespace spt
