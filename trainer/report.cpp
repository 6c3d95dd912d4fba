#include "trainer/report.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "trainer/eval/same_items.h"
#include "trainer/report_warnings.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// Without what tells seeds of one arm apart.
ordered_json arm_of(const ReportRun& run) {
  ordered_json config = run.training->config;
  config.erase("run.dir");
  config.erase("run.seed");
  return config;
}

std::vector<size_t> arms_of(const std::vector<ReportRun>& runs, size_t baselines) {
  std::vector<size_t> arms;
  const auto knows_arm = [](const ReportRun& run) { return run.training && run.training->config.is_object(); };
  size_t next = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    size_t arm = next;
    if (baselines > 0)
      arm = i < runs.size() - baselines ? 0 : 1;
    else if (runs.size() > 2 && knows_arm(runs[i]))
      for (size_t j = 0; j < i; ++j)
        if (knows_arm(runs[j]) && arm_of(runs[j]) == arm_of(runs[i])) arm = arms[j];
    arms.push_back(arm);
    next = std::max(next, arm + 1);
  }
  return arms;
}

// A name for seeds: what theirs have in common at the front ("role" of role-1 and role-2), or else `fallback`.
std::string common_name(const std::vector<std::string>& names, const std::string& fallback) {
  if (names.size() == 1) return names[0];
  std::string common = names[0];
  for (const std::string& name : names) {
    const auto ends = std::mismatch(common.begin(), common.end(), name.begin(), name.end());
    common.erase(ends.first, common.end());
  }
  const size_t end = common.find_last_not_of("0123456789-_./ ");
  common.resize(end == std::string::npos ? 0 : end + 1);
  return common.empty() ? fallback : common;
}

class Collector {
 public:
  explicit Collector(const ReportOptions& options) { report_.options = options; }

  Report collect() {
    const ReportOptions& options = report_.options;
    if (!options.baseline.empty() && options.runs.size() != options.baseline.size())
      throw BadInput(
          fmt::format("{} runs, and {} after --baseline: seeds are paired in their order, so both sides need as many",
                      options.runs.size(), options.baseline.size()));
    std::vector<fs::path> folders = options.runs;
    folders.insert(folders.end(), options.baseline.begin(), options.baseline.end());
    ReportFolders found = read_report_folders(folders);
    report_.runs = std::move(found.runs);
    report_.arms = arms_of(report_.runs, options.baseline.size());
    for (EvaluationFacts& facts : found.evaluations) report_.evaluations.push_back({std::move(facts), {}, {}, {}, {}});
    check_tasks();
    compare_runs();
    for (ReportEvaluation& evaluation : report_.evaluations) read_evaluation(evaluation);
    check_items();
    read_judgements();
    report_.warnings = warnings_of(report_, found.unended);
    return std::move(report_);
  }

 private:
  // Leaves the chosen tasks.
  void check_tasks() {
    const std::set<std::string> chosen(report_.options.tasks.begin(), report_.options.tasks.end());
    if (chosen.empty()) return;
    for (ReportEvaluation& evaluation : report_.evaluations) {
      auto& results = evaluation.facts.results;
      for (const std::string& name : chosen)
        if (!results.contains(name))
          throw BadInput(fmt::format("--tasks: {} has no {}", evaluation.facts.path.string(), name));
      std::erase_if(results, [&](const auto& result) { return !chosen.contains(result.first); });
    }
  }

  std::vector<size_t> evaluations_of(size_t run) const {
    std::vector<size_t> found;
    for (size_t i = 0; i < report_.evaluations.size(); ++i)
      if (report_.evaluations[i].facts.run == run) found.push_back(i);
    return found;
  }

  // The evaluations of two runs that belong together.
  std::vector<std::pair<size_t, size_t>> matched(size_t a, size_t b) const {
    const std::vector<size_t> of_a = evaluations_of(a), of_b = evaluations_of(b);
    if (of_a.size() == 1 && of_b.size() == 1) return {{of_a[0], of_b[0]}};
    std::vector<std::pair<size_t, size_t>> pairs;
    for (const size_t x : of_a)
      for (const size_t y : of_b)
        if (report_.evaluations[x].facts.folder == report_.evaluations[y].facts.folder) pairs.emplace_back(x, y);
    if (pairs.empty() && !of_a.empty() && !of_b.empty())
      throw BadInput(fmt::format(
          "{} and {} have no evaluation in a folder of the same name: give the evaluation folders themselves",
          report_.runs[a].path.string(), report_.runs[b].path.string()));
    return pairs;
  }

  void compare_runs() {
    const size_t baselines = report_.options.baseline.size(), first = report_.runs.size() - baselines;
    if (baselines == 0) {
      if (report_.evaluations.empty()) return;
      const size_t last = report_.evaluations.back().facts.run;
      for (size_t run = 0; run < last; ++run)
        for (const auto& [a, b] : matched(run, last)) add_comparison({a}, {b});
      return;
    }
    // Runs that have one evaluation each belong together whatever its folder is called.
    bool is_one_each = true;
    for (size_t run = 0; run < report_.runs.size(); ++run) is_one_each = is_one_each && evaluations_of(run).size() <= 1;
    std::map<std::string, std::pair<std::vector<size_t>, std::vector<size_t>>> sides;  // by folder
    for (size_t run = 0; run < first; ++run)
      for (const auto& [a, b] : matched(run, first + run)) {
        auto& side = sides[is_one_each ? "" : report_.evaluations[a].facts.folder];
        side.first.push_back(a);
        side.second.push_back(b);
      }
    for (auto& [folder, side] : sides) add_comparison(std::move(side.first), std::move(side.second));
  }

  void add_comparison(std::vector<size_t> a, std::vector<size_t> b) {
    CompareOptions options;
    options.resampling = report_.options.resampling;
    options.tasks = report_.options.tasks;
    const auto side_of = [&](const std::vector<size_t>& side, std::vector<fs::path>& paths, const char* fallback) {
      std::vector<std::string> names;
      for (const size_t i : side) {
        paths.push_back(report_.evaluations[i].facts.path);
        names.push_back(report_.evaluations[i].facts.name);
      }
      return common_name(names, fallback);
    };
    ReportComparison comparison;
    comparison.a = side_of(a, options.a, "A");
    comparison.b = side_of(b, options.b, "B");
    comparison.a_side = std::move(a);
    comparison.b_side = std::move(b);
    // Chosen tasks without scores, which compare refuses, are shown by their samples.
    const auto& results = report_.evaluations[comparison.a_side[0]].facts.results;
    std::erase_if(options.tasks, [&](const std::string& name) { return !results.at(name).has_scores(); });
    bool has_scores = false;
    for (const auto* side : {&comparison.a_side, &comparison.b_side})
      for (const size_t i : *side)
        for (const auto& [name, result] : report_.evaluations[i].facts.results)
          has_scores = has_scores || result.has_scores();
    if (!has_scores) return;
    comparison.found = compare(options);
    report_.comparisons.push_back(std::move(comparison));
  }

  void read_evaluation(ReportEvaluation& evaluation) {
    const EvaluationFacts& facts = evaluation.facts;
    const auto score = [&](const std::string& name, const TaskResult& result, const auto& samples) {
      check_groups(samples, samples_file(facts.path, name));
      const std::vector<PairedItem> items = scored_items(samples);
      if (result.has_scores() && !items.empty())
        evaluation.scores.push_back(score_task(name, result, items, report_.options.resampling));
    };
    for (const auto& [name, result] : facts.results) {
      if (result.is_perplexity()) {
        score(name, result, read_samples(facts.path, name, result));
        continue;
      }
      const auto& samples = evaluation.samples[name] = read_answered_samples(facts.path, name, result);
      score(name, result, samples);
      RoleStatistics roles;
      for (const AnsweredSample& sample : samples) roles.add(sample);
      if (roles.answers > 0) evaluation.roles[name] = std::move(roles);
    }
    evaluation.mean = mean_score(evaluation.scores);
  }

  // Samples stand side by side, also of evaluations that are not compared.
  void check_items() const try {
    std::map<std::string, const ReportEvaluation*> first;
    for (const ReportEvaluation& evaluation : report_.evaluations)
      for (const auto& [name, samples] : evaluation.samples) {
        const ReportEvaluation& other = *first.try_emplace(name, &evaluation).first->second;
        if (&other == &evaluation) continue;
        const std::vector<AnsweredSample>& reference = other.samples.at(name);
        check_same_items(samples_file(other.facts.path, name), {reference.begin(), reference.end()},
                         samples_file(evaluation.facts.path, name), {samples.begin(), samples.end()});
      }
  } catch (const BadInput& error) {
    throw BadInput(
        fmt::format("{}; give this report only evaluations that belong together: a folder with results.json "
                    "may stand in place of its run's",
                    error.what()));
  }

  // A side of a judgement, if it is an evaluation of the report.
  std::optional<size_t> side_of(const std::string& identity) const {
    std::optional<size_t> side;
    for (size_t i = 0; i < report_.evaluations.size() && !identity.empty(); ++i) {
      if (report_.evaluations[i].facts.identity != identity) continue;
      if (side) return std::nullopt;
      side = i;
    }
    return side;
  }

  void read_judgements() {
    for (const ReportEvaluation& evaluation : report_.evaluations)
      for (ReportJudgement& judgement : judgements_below(evaluation.facts.path)) {
        judgement.a_side = side_of(judgement.a_identity);
        judgement.b_side = side_of(judgement.b_identity);
        if (judgement.a_side) judgement.a = report_.evaluations[*judgement.a_side].facts.name;
        if (judgement.b_side) judgement.b = report_.evaluations[*judgement.b_side].facts.name;
        report_.judgements.push_back(std::move(judgement));
      }
  }

  Report report_;
};

}  // namespace

Report collect_report(const ReportOptions& options) {
  return Collector(options).collect();
}

}  // namespace spt
