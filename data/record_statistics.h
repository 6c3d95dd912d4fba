// What a file of records holds, counted. Lengths are in words (data/word_ngrams.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "data/lengths.h"
#include "data/records.h"

namespace spt {

struct RecordStatistics {
  RecordFormat format = RecordFormat::kAuto;
  int64_t records = 0;
  int64_t multi_turn = 0;  // with more than one answer
  int64_t with_role = 0;
  int64_t with_system = 0;
  int64_t without_answer = 0;  // prompts
  int64_t trailing_turns = 0;  // of the user's, which prepare drops; prompts are not counted
  std::map<std::string, int64_t> by_source;
  Lengths user_turns, answers, roles;
};

// Throws as RecordReader does.
RecordStatistics record_statistics(const std::filesystem::path& path);

}  // namespace spt
