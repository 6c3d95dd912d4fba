#include "trainer/eval/results.h"

#include <cmath>
#include <map>

#include <fmt/format.h>

namespace spt {
namespace {

using nlohmann::ordered_json;

struct Mean {
  double sum = 0, squares = 0;
  int64_t n = 0;

  void add(double x) {
    sum += x;
    squares += x * x;
    ++n;
  }
  double value() const { return n > 0 ? sum / static_cast<double>(n) : 0; }
  double standard_error() const {
    if (n < 2) return 0;
    const auto count = static_cast<double>(n);
    return std::sqrt(std::max(0.0, squares / count - value() * value()) / (count - 1));
  }
};

// The mean of a field over the samples that have it.
Mean mean_of(const std::vector<ordered_json>& samples, const char* field) {
  Mean mean;
  for (const ordered_json& sample : samples) {
    const auto found = sample.find(field);
    if (found == sample.end()) continue;
    if (found->is_boolean())
      mean.add(found->get<bool>() ? 1 : 0);
    else if (found->is_number())
      mean.add(found->get<double>());
  }
  return mean;
}

double share_of_null(const std::vector<ordered_json>& samples, const char* field) {
  Mean mean;
  for (const ordered_json& sample : samples) mean.add(sample.at(field).is_null() ? 1 : 0);
  return mean.value();
}

std::string metric_of(const Task& task) {
  if (task.kind == TaskKind::kOpen) return "none";
  if (task.kind == TaskKind::kCode) return "pass@1";
  if (task.kind == TaskKind::kChoice)
    return task.metric == ChoiceMetric::kAccuracy ? "accuracy" : "accuracy_normalised";
  return "exact_match";
}

}  // namespace

ordered_json summarise(const Task& task, const std::vector<ordered_json>& samples) {
  const Mean score = mean_of(samples, "score");
  const bool is_scored = task.kind != TaskKind::kOpen;
  ordered_json result = {{"metric", metric_of(task)},
                         {"value", is_scored ? ordered_json(score.value()) : ordered_json()},
                         {"standard_error", is_scored ? ordered_json(score.standard_error()) : ordered_json()},
                         {"n", samples.size()}};
  if (task.kind == TaskKind::kChoice) {
    result["accuracy"] = mean_of(samples, "score_raw").value();
    result["accuracy_normalised"] = mean_of(samples, "score_normalised").value();
  } else {
    result["role_share"] = 1 - share_of_null(samples, "role");
    if (is_scored) result["nothing_extracted_share"] = share_of_null(samples, "extracted");
    result["cut_share"] = mean_of(samples, "cut").value();
    result["mean_output_tokens"] = mean_of(samples, "tokens").value();
  }
  if (task.group.empty() || !is_scored) return result;
  std::map<std::string, Mean> groups;
  for (const ordered_json& sample : samples) groups[sample.at("group")].add(sample.at("score").get<double>());
  Mean over_groups;
  ordered_json listed;
  for (const auto& [name, mean] : groups) {
    over_groups.add(mean.value());
    listed[name] = {{"value", mean.value()}, {"n", mean.n}};
  }
  result["mean_over_groups"] = over_groups.value();
  result["groups"] = std::move(listed);
  return result;
}

std::string describe_result(const std::string& task, const ordered_json& result) {
  std::string text = task + ":";
  if (result["value"].is_number())
    text += fmt::format(" {} {:.4f} ± {:.4f}", result["metric"].get<std::string>(), result["value"].get<double>(),
                        result["standard_error"].get<double>());
  text += fmt::format(" over {} items", result["n"].get<int64_t>());
  const auto share = [&](const char* key, const char* words) {
    if (result.contains(key)) text += fmt::format(", {} {:.2f}", words, result[key].get<double>());
  };
  if (result["metric"] == "accuracy") share("accuracy_normalised", "normalised");
  if (result["metric"] == "accuracy_normalised") share("accuracy", "not normalised");
  share("role_share", "with a role");
  share("nothing_extracted_share", "nothing extracted");
  share("cut_share", "cut");
  share("mean_over_groups", "mean over groups");
  return text;
}

}  // namespace spt
