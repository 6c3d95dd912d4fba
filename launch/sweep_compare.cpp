#include "launch/sweep_compare.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/durable.h"
#include "launch/compare_print.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

bool has_finished(const PointState& point, const std::string& step) {
  return std::any_of(point.steps.begin(), point.steps.end(),
                     [&](const StepState& state) { return state.name == step && state.is_done(); });
}

struct Pairs {
  CompareOptions finished;
  std::vector<std::string> missing;  // names of points
};

Pairs pairs_of(const SweepState& state, const SweepConfig::Comparison& comparison, const std::string& setting,
               const std::string& evaluation) {
  Pairs pairs;
  for (const PointState& a : state.points)
    for (const PointState& b : state.points) {
      if (a.point.of != comparison.a || b.point.of != comparison.b || a.point.seed != b.point.seed) continue;
      if (a.point.setting != setting || b.point.setting != setting) continue;
      if (has_finished(a, evaluation) && has_finished(b, evaluation)) {
        pairs.finished.a.push_back(a.folder / evaluation);
        pairs.finished.b.push_back(b.folder / evaluation);
        continue;
      }
      for (const PointState* point : {&a, &b})
        if (!has_finished(*point, evaluation)) pairs.missing.push_back(point->point.name);
    }
  return pairs;
}

std::vector<std::string> distinct_settings(const SweepState& state) {
  std::vector<std::string> settings;
  for (const PointState& point : state.points)
    if (std::find(settings.begin(), settings.end(), point.point.setting) == settings.end())
      settings.push_back(point.point.setting);
  return settings;
}

std::vector<std::string> evaluations_of(const SweepConfig& config, const SweepConfig::Comparison& comparison) {
  if (!comparison.evaluations.empty()) return comparison.evaluations;
  std::vector<std::string> all;
  for (const auto& [name, evaluation] : config.evaluations) all.push_back(name);
  return all;
}

}  // namespace

SweepComparisons write_comparisons(const SweepConfig& config, SweepState& state) {
  SweepComparisons result;
  std::string& text = result.text;
  state.comparisons.clear();
  const fs::path folder = config.dir / "compare";
  for (const auto& [name, comparison] : config.compare)
    for (const std::string& evaluation : evaluations_of(config, comparison))
      for (const std::string& setting : distinct_settings(state)) {
        const Pairs pairs = pairs_of(state, comparison, setting, evaluation);
        const std::string title = name + "_" + evaluation + (setting.empty() ? "" : "_" + setting);
        if (!pairs.missing.empty()) text += fmt::format("{}: {} not finished\n", title, fmt::join(pairs.missing, ", "));
        if (pairs.finished.a.empty()) continue;
        try {
          const Comparison found = compare(pairs.finished);
          fs::create_directories(folder);
          const std::string table = comparison_text(pairs.finished, found);
          write_durable(folder / (title + ".txt"), table);
          write_durable(folder / (title + ".json"), comparison_json(pairs.finished, found));
          for (const char* ending : {".txt", ".json"}) state.comparisons.push_back(folder / (title + ending));
          text += fmt::format("{}\n{}\n", title, table);
        } catch (const BadInput& error) {
          result.some_refused = true;
          text += fmt::format("{}: cannot be compared: {}\n", title, error.what());
        }
      }
  return result;
}

}  // namespace spt
