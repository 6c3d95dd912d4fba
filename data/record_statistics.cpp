#include "data/record_statistics.h"

#include <vector>

#include "data/word_ngrams.h"

namespace spt {
namespace {

int64_t words_in(const std::string& text) {
  return static_cast<int64_t>(words_of(text).size());
}

}  // namespace

RecordStatistics record_statistics(const std::filesystem::path& path) {
  RecordStatistics found;
  std::vector<int64_t> user_turns, answers, roles;
  RecordReader reader(path, {RecordFormat::kAuto, RecordUse::kAny});
  while (const auto record = reader.next()) {
    const size_t turns = record->turns.size();
    ++found.records;
    ++found.by_source[record->source];
    found.multi_turn += turns >= 4;
    found.with_system += record->system.has_value();
    found.without_answer += turns == 1;
    found.trailing_turns += turns > 1 && turns % 2 == 1;
    for (size_t i = 0; i < turns; ++i) (i % 2 == 0 ? user_turns : answers).push_back(words_in(record->turns[i]));
    if (!record->role) continue;
    ++found.with_role;
    roles.push_back(words_in(*record->role));
  }
  found.format = reader.format();
  found.user_turns = summarize(std::move(user_turns));
  found.answers = summarize(std::move(answers));
  found.roles = summarize(std::move(roles));
  return found;
}

}  // namespace spt
