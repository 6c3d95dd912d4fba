// Questions that stand twice: among the records, or in the records and in files that must not overlap with them (the
// prompts of a test). Compared are first user turns, as words (data/word_ngrams.h):
//   exact  the same words in the same order
//   near   at least kNearSimilarity of all their runs of kShingleWords words are in both (Jaccard similarity; a shorter
//          question is one run)
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/records.h"

namespace spt {

inline constexpr size_t kShingleWords = 5;
inline constexpr double kNearSimilarity = 0.7;

struct DuplicatesConfig {
  std::vector<std::filesystem::path> inputs;
  std::vector<std::filesystem::path> others;  // compared with the inputs, not with each other
  std::filesystem::path out;                  // the report
  RecordFormat format = RecordFormat::kAuto;
  bool force = false;  // replace an existing report
};

struct DuplicatesStatistics {
  int64_t questions = 0;
  int64_t exact = 0, near = 0;  // pairs
};

// Indices into the texts compared; a < b.
struct DuplicatePair {
  size_t a = 0, b = 0;
  double similarity = 0;
  bool exact = false;
};

// All pairs of texts of which at least one is among the first `inputs`, in order. Finds every pair there is: texts are
// looked up by their rarest runs (prefix filtering, Chaudhuri et al. 2006), not by samples of them.
std::vector<DuplicatePair> find_duplicates(const std::vector<std::string>& texts, size_t inputs);

// Writes a table, tab-separated with a heading: kind, similarity, place and id of the one and of the other, and the
// beginning of the text. Throws BadInput: what RecordReader refuses, an existing report without `force`,
// one that is among the files read.
DuplicatesStatistics report_duplicates(const DuplicatesConfig& config);

}  // namespace spt
