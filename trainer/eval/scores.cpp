#include "trainer/eval/scores.h"

#include <algorithm>

#include <fmt/format.h>

namespace spt {
namespace {

void set_interval(TaskScore& score) {
  const auto [least, most] = std::minmax_element(score.resampled.begin(), score.resampled.end());
  if (score.resampled.empty() || *least == *most) return;
  const Estimate found = estimate(score.value, score.resampled);
  score.interval = Interval{score.value, found.low, found.high};
}

}  // namespace

TaskScore score_task(const std::string& name, const TaskResult& result, const std::vector<PairedItem>& items,
                     const Resampling& resampling) {
  TaskScore score;
  score.name = name;
  score.metric = result.is_perplexity() ? "loss" : result.metric;
  score.is_lower_better = result.is_perplexity();
  score.items = static_cast<int64_t>(items.size());
  if (items.size() == 1) {
    score.value = items[0].a / items[0].weight;
    return score;
  }
  const std::vector<PairedUnit> units = paired_units(items);
  score.groups = units.size() < items.size() ? static_cast<int64_t>(units.size()) : 0;
  score.value = means_of(units).a;
  score.resampled = resampled_differences(units, resampling, name);
  set_interval(score);
  return score;
}

std::optional<TaskScore> mean_score(const std::vector<TaskScore>& tasks) {
  std::vector<const TaskScore*> scored;
  for (const TaskScore& task : tasks)
    if (!task.is_lower_better) scored.push_back(&task);
  if (scored.size() < 2) return std::nullopt;
  TaskScore mean;
  mean.name = fmt::format("mean of {} tasks", scored.size());
  mean.metric = "score";
  std::vector<std::vector<double>> resampled;
  for (const TaskScore* task : scored) {
    mean.items += task->items;
    mean.value += task->value / static_cast<double>(scored.size());
    if (!task->resampled.empty()) resampled.push_back(task->resampled);
  }
  if (resampled.size() == scored.size()) {
    mean.resampled = mean_over_tasks(resampled);
    set_interval(mean);
  }
  return mean;
}

}  // namespace spt
