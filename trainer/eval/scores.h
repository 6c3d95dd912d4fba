// The scores of one evaluation with their intervals, by the bootstrap that compares two (trainer/eval/statistics.h):
// the same resamples of items or groups, the same mean over tasks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/eval/samples.h"
#include "trainer/eval/statistics.h"

namespace spt {

struct TaskScore {
  std::string name;
  std::string metric;  // of a perplexity task "loss": nats a trained token
  bool is_lower_better = false;
  int64_t items = 0;
  int64_t groups = 0;  // 0: items were resampled
  double value = 0;    // the mean over items; as spt compare's A or B
  // None where resamples can tell nothing: fewer than two items or groups, or all items alike.
  std::optional<Interval> interval;
  std::vector<double> resampled;  // of which the interval is made; empty: fewer than two items or groups
};

// The samples that count, as one side of a comparison.
template <class T>
std::vector<PairedItem> scored_items(const std::vector<T>& samples) {
  std::vector<PairedItem> items;
  for (const T& sample : samples)
    if (sample.trained_tokens > 0)
      items.push_back({sample.id, sample.group, sample.score, 0, static_cast<double>(sample.trained_tokens)});
  return items;
}

// `items` as scored_items; one at least. Throws as paired_units.
TaskScore score_task(const std::string& name, const TaskResult& result, const std::vector<PairedItem>& items,
                     const Resampling& resampling);

// Over the tasks with scores (perplexities stay out), where there are two or more.
std::optional<TaskScore> mean_score(const std::vector<TaskScore>& tasks);

}  // namespace spt
