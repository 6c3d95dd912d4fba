// `spt compare`: two sides, a and b, of evaluation folders that measured the same items; the i-th folders of both are
// one pair, of one seed. trainer/eval/statistics.h says how.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trainer/eval/statistics.h"

namespace spt {

struct CompareOptions {
  std::vector<std::filesystem::path> a, b;  // of one length
  std::vector<std::string> tasks;           // empty: all that have scores
  Resampling resampling;
};

struct PairComparison {
  double a = 0, b = 0;
  Estimate difference;                    // a − b
  std::optional<double> p_holm;           // over the tasks of this pair; none of the mean over tasks
  std::optional<int64_t> only_a, only_b;  // items that one side alone answered right, where all scores are 0 or 1
  std::optional<double> p_mcnemar;        // there too
};

struct OverSeeds {
  double a = 0, b = 0;
  Interval difference;
};

struct TaskComparison {
  std::string name;
  std::string metric;  // of a perplexity task "loss": nats a trained token, the logarithm of the perplexity
  bool is_lower_better = false;
  int64_t items = 0;
  int64_t groups = 0;  // 0: items were resampled
  std::vector<PairComparison> pairs;
  std::optional<OverSeeds> over_seeds;  // from three pairs on
};

struct Comparison {
  std::vector<TaskComparison> tasks;   // by name
  std::optional<TaskComparison> mean;  // over the tasks with scores, where there are two or more
  std::vector<std::string> notes;      // what a reader must know beside the numbers
};

// Throws BadInput for folders that cannot be compared: as read_results and read_samples; one pair twice; tasks that not
// all folders have, unless `tasks` chooses others; another metric, number of items, id, prompt, gold, group or number
// of trained tokens; fewer than two items.
Comparison compare(const CompareOptions& options);

// What a reader must know of the folders themselves: one that stands on both sides, settings that are not the same.
std::vector<std::string> notes_of_sides(const CompareOptions& options);

}  // namespace spt
