#include "trainer/report_warnings.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "data/json_text.h"
#include "trainer/run_config.h"

namespace spt {
namespace {

using nlohmann::json;

// Differences that are wanted to be told from chance.
constexpr double kWanted = 0.05;

class Warnings {
 public:
  explicit Warnings(const Report& report) : report_(report) {}

  std::vector<std::string> all(const std::vector<std::filesystem::path>& unended) {
    for (const ReportRun& run : report_.runs)
      if (run.training) look_at_training(run);
    for (const auto& path : unended)
      found_.push_back(fmt::format("{}: an evaluation that has not finished; it is left out", path.string()));
    look_at_evaluated();
    look_at_configurations();
    look_at_settings();
    for (const ReportComparison& comparison : report_.comparisons) look_at_comparison(comparison);
    return std::move(found_);
  }

 private:
  void look_at_training(const ReportRun& run) {
    const TrainingFacts& training = *run.training;
    const int64_t step = training.rows.empty() ? 0 : training.rows.back().step;
    if (training.is_unfinished())
      found_.push_back(fmt::format("{}: has not finished, {} of {} steps{}", run.name, step,
                                   training.in_manifest("/steps").get<int64_t>(),
                                   training.user ? fmt::format("; at work: {}", *training.user) : ""));
    const auto is_bad = [](const MetricsRow& row) { return !std::isfinite(row.loss) || !std::isfinite(row.grad_norm); };
    const auto bad = std::count_if(training.rows.begin(), training.rows.end(), is_bad);
    if (bad > 0)
      found_.push_back(fmt::format("{}: {} of {} steps have a loss or gradient norm that is not finite, first step {}",
                                   run.name, bad, training.rows.size(),
                                   std::find_if(training.rows.begin(), training.rows.end(), is_bad)->step));
    if (training.program().find("-dirty") != std::string::npos)
      found_.push_back(fmt::format("{}: was trained by a program with changes that no commit has", run.name));
  }

  void look_at_evaluated() {
    std::set<size_t> evaluated;
    for (const ReportEvaluation& evaluation : report_.evaluations) evaluated.insert(evaluation.facts.run);
    for (size_t run = 0; run < report_.runs.size(); ++run)
      if (!evaluated.empty() && !evaluated.contains(run))
        found_.push_back(
            fmt::format("{}: has no finished evaluation, so it is compared with nothing", report_.runs[run].name));
  }

  void look_at_configurations() {
    std::set<std::string> programs, weights;
    for (const ReportRun& run : report_.runs) {
      if (!run.training) continue;
      if (const std::string program = run.training->program(); !program.empty()) programs.insert(program);
      if (const json hash = run.training->in_manifest("/weights_sha256"); hash.is_string())
        weights.insert(hash.get<std::string>());
    }
    if (programs.size() > 1)
      found_.push_back(fmt::format("trained by different programs: {}", fmt::join(programs, ", ")));
    if (weights.size() > 1)
      found_.emplace_back("the runs began with different weights (weights_sha256 of manifest.json)");
    std::vector<std::string> unequal;
    for (const std::string& key : differing_keys(report_.runs))
      if (!is_expected_difference(key)) unequal.push_back(key);
    if (!unequal.empty())
      found_.push_back(
          fmt::format("the runs differ in more than their corpora and seeds: {}", fmt::join(unequal, ", ")));
  }

  void look_at_settings() {
    for (const std::string& note : notes_of_settings(settings_of(report_.evaluations))) found_.push_back(note);
    for (const ReportEvaluation& evaluation : report_.evaluations) {
      if (!evaluation.facts.settings.is_object()) continue;
      const json limit = evaluation.facts.settings.value("limit", json());
      if (!limit.is_number_integer()) continue;
      found_.push_back(
          fmt::format("eval.limit={}: a sample of each task was measured, not the whole", limit.get<int64_t>()));
      break;
    }
  }

  void look_at_comparison(const ReportComparison& comparison) {
    const size_t seeds = comparison.a_side.size();
    const std::string name = fmt::format("{} − {}", comparison.a, comparison.b);
    if (seeds < 3)
      found_.push_back(
          fmt::format("{}: {} a side. The intervals are about these items, not about training again with "
                      "another seed; from 3 seeds on there is an interval for that",
                      name, seeds == 1 ? "one training run" : "two seeds"));
    std::vector<std::string> coarse;
    for (const TaskComparison& task : comparison.found.tasks) {
      if (task.is_lower_better) continue;
      const Estimate& d = task.pairs[0].difference;
      const double half = (d.high - d.low) / 2;
      if (half <= kWanted) continue;
      if (task.groups > 0) {
        coarse.push_back(fmt::format("{}: {} groups resolve about ±{:.2f}", task.name, task.groups, half));
        continue;
      }
      const double needed = static_cast<double>(task.items) * half * half / (kWanted * kWanted);
      coarse.push_back(fmt::format("{}: {} pairs resolve about ±{:.2f}, 100 about ±{:.2f}; ±{:.2f} takes about {:.0f}",
                                   task.name, task.items, half, half * std::sqrt(static_cast<double>(task.items) / 100),
                                   kWanted, std::ceil(needed / 10) * 10));
    }
    if (!coarse.empty()) found_.push_back(fmt::format("{}: few items. {}", name, fmt::join(coarse, ". ")));
  }

  const Report& report_;
  std::vector<std::string> found_;
};

}  // namespace

bool is_expected_difference(const std::string& key) {
  return may_change_on_resume(key) || key == "run.seed" || key == "data.train" || key == "data.valid";
}

std::vector<std::string> differing_keys(const std::vector<ReportRun>& runs) {
  std::vector<const nlohmann::ordered_json*> configs;
  std::vector<std::string> keys;
  for (const ReportRun& run : runs) {
    if (!run.training || !run.training->config.is_object()) continue;
    configs.push_back(&run.training->config);
    for (const auto& [key, value] : run.training->config.items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  std::erase_if(keys, [&](const std::string& key) {
    return std::all_of(configs.begin(), configs.end(), [&](const auto* config) {
      return config->contains(key) == configs[0]->contains(key) &&
             (!config->contains(key) || (*config)[key] == (*configs[0])[key]);
    });
  });
  return keys;
}

std::vector<EvaluationSettings> settings_of(const std::vector<ReportEvaluation>& evaluations) {
  std::vector<EvaluationSettings> settings;
  for (const ReportEvaluation& evaluation : evaluations)
    settings.push_back({evaluation.facts.name, evaluation.facts.settings});
  return settings;
}

std::vector<std::string> warnings_of(const Report& report, const std::vector<std::filesystem::path>& unended) {
  return Warnings(report).all(unended);
}

}  // namespace spt
