#include "trainer/eval/comparison.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "data/json_text.h"
#include "trainer/eval/same_items.h"
#include "trainer/eval/samples.h"
#include "trainer/eval/settings.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFewUnits = 20;

// The sides' folders: pair i is a[i] and b[i].
struct Sides {
  std::vector<EvaluationFolder> a, b;
  const EvaluationFolder& first() const { return a[0]; }
  std::vector<const EvaluationFolder*> all() const {
    std::vector<const EvaluationFolder*> folders;
    for (const auto* side : {&a, &b})
      for (const EvaluationFolder& folder : *side) folders.push_back(&folder);
    return folders;
  }
};

std::vector<EvaluationFolder> open_folders(const std::vector<fs::path>& paths) {
  std::vector<EvaluationFolder> folders;
  for (const fs::path& path : paths) folders.push_back({path, read_results(path)});
  return folders;
}

// One pair twice would count as two seeds.
void check_pairs(const Sides& sides) {
  std::set<std::pair<fs::path, fs::path>> seen;
  for (size_t i = 0; i < sides.a.size(); ++i)
    if (!seen.insert({fs::canonical(sides.a[i].path), fs::canonical(sides.b[i].path)}).second)
      throw BadInput(fmt::format("{} against {} is given twice: a pair is one seed; name each seed's folders once",
                                 sides.a[i].path.string(), sides.b[i].path.string()));
}

// The tasks that every folder must have: the chosen ones, or all that any has.
std::set<std::string> wanted_tasks(const Sides& sides, const std::vector<std::string>& chosen) {
  std::set<std::string> wanted(chosen.begin(), chosen.end());
  if (wanted.size() < chosen.size())
    throw BadInput(fmt::format("--tasks names a task twice: {}", fmt::join(chosen, ", ")));
  if (!chosen.empty()) return wanted;
  for (const EvaluationFolder* folder : sides.all())
    for (const auto& [name, result] : folder->results) wanted.insert(name);
  if (wanted.empty()) throw BadInput(fmt::format("{}: has no task", (sides.first().path / "results.json").string()));
  return wanted;
}

void check_tasks(const Sides& sides, const std::set<std::string>& wanted, bool are_chosen) {
  std::set<std::string> common = wanted;
  std::string missing;
  for (const EvaluationFolder* folder : sides.all()) {
    std::vector<std::string> lacks;
    for (const std::string& name : wanted)
      if (!folder->results.contains(name)) lacks.push_back(name);
    if (lacks.empty()) continue;
    for (const std::string& name : lacks) common.erase(name);
    missing +=
        fmt::format("{}{} has no {}", missing.empty() ? "" : "; ", folder->path.string(), fmt::join(lacks, ", "));
  }
  if (missing.empty()) return;
  if (are_chosen) throw BadInput(fmt::format("--tasks: {}", missing));
  throw BadInput(fmt::format(
      "not the same tasks: {}; {}", missing,
      common.empty() ? "no task is in all folders"
                     : fmt::format("compare those in all of them with --tasks {}", fmt::join(common, ","))));
}

void check_metric(const std::string& task, const Sides& sides) {
  const std::string& metric = sides.first().results.at(task).metric;
  for (const EvaluationFolder* folder : sides.all())
    if (const std::string& other = folder->results.at(task).metric; other != metric)
      throw BadInput(fmt::format("task {} has the metric {} in {} and {} in {}", task, brief(metric),
                                 sides.first().path.string(), brief(other), folder->path.string()));
}

void check_shots(const std::string& task, const Sides& sides) {
  const int64_t shots = sides.first().results.at(task).shots;
  for (const EvaluationFolder* folder : sides.all())
    if (const int64_t other = folder->results.at(task).shots; other != shots)
      throw BadInput(fmt::format("task {} was asked behind {} examples in {} and {} in {} (eval.shots)", task, shots,
                                 sides.first().path.string(), other, folder->path.string()));
}

// Takes out of `tasks` those without scores, which are refused where they were chosen.
std::vector<std::string> take_scoreless(std::set<std::string>& tasks, const Sides& sides, bool are_chosen) {
  std::vector<std::string> taken;
  for (const std::string& name : tasks)
    if (!sides.first().results.at(name).has_scores()) taken.push_back(name);
  for (const std::string& name : taken) tasks.erase(name);
  if (!taken.empty() && (are_chosen || tasks.empty()))
    throw BadInput(
        fmt::format("{}: no scores in {}, so there is nothing to compare; answers to open questions "
                    "are compared by spt judge",
                    (sides.first().path / "results.json").string(), fmt::join(taken, ", ")));
  return taken;
}

std::vector<PairedItem> paired_items(const std::vector<Sample>& a, const std::vector<Sample>& b) {
  std::vector<PairedItem> items;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i].trained_tokens > 0)
      items.push_back({a[i].id, a[i].group, a[i].score, b[i].score, static_cast<double>(a[i].trained_tokens)});
  return items;
}

void add_mcnemar(const std::vector<PairedItem>& items, PairComparison& pair) {
  const auto is_binary = [](const PairedItem& item) {
    return (item.a == 0 || item.a == 1) && (item.b == 0 || item.b == 1);
  };
  if (!std::all_of(items.begin(), items.end(), is_binary)) return;
  pair.only_a = std::count_if(items.begin(), items.end(), [](const PairedItem& item) { return item.a > item.b; });
  pair.only_b = std::count_if(items.begin(), items.end(), [](const PairedItem& item) { return item.b > item.a; });
  pair.p_mcnemar = mcnemar_p(*pair.only_a, *pair.only_b);
}

void add_over_seeds(TaskComparison& task) {
  std::vector<double> differences;
  OverSeeds over;
  for (const PairComparison& pair : task.pairs) {
    differences.push_back(pair.difference.value);
    over.a += pair.a / static_cast<double>(task.pairs.size());
    over.b += pair.b / static_cast<double>(task.pairs.size());
  }
  const auto interval = t_interval(differences);
  if (!interval) return;
  over.difference = *interval;
  task.over_seeds = over;
}

// A task compared, and for each pair the differences of its resamples. Nothing else of a task stays in memory.
struct Work {
  TaskComparison task;
  std::vector<std::vector<double>> resampled;
};

void add_pair(const std::vector<PairedItem>& items, const Resampling& resampling, Work& work) {
  const std::vector<PairedUnit> units = paired_units(items);
  const Means means = means_of(units);
  const std::vector<double>& resampled =
      work.resampled.emplace_back(resampled_differences(units, resampling, work.task.name));
  PairComparison& pair = work.task.pairs.emplace_back();
  pair.a = means.a;
  pair.b = means.b;
  pair.difference = estimate(means.a - means.b, resampled);
  if (!work.task.is_lower_better) add_mcnemar(items, pair);
  work.task.items = static_cast<int64_t>(items.size());
  work.task.groups = units.size() < items.size() ? static_cast<int64_t>(units.size()) : 0;
}

Work compare_task(const std::string& name, const Sides& sides, const Resampling& resampling) {
  const TaskResult& result = sides.first().results.at(name);
  const fs::path reference_file = samples_file(sides.first().path, name);
  const std::vector<Sample> reference = read_samples(sides.first().path, name, result);
  check_groups(reference, reference_file);
  if (result.n < 2)
    throw BadInput(fmt::format("{}: {} of its samples count, and a comparison needs at least 2",
                               reference_file.string(), result.n));
  const auto read = [&](const EvaluationFolder& folder) {
    std::vector<Sample> samples = read_samples(folder.path, name, folder.results.at(name));
    check_same_items(reference_file, reference, samples_file(folder.path, name), samples);
    return samples;
  };
  Work work;
  work.task.name = name;
  work.task.metric = result.is_perplexity() ? "loss" : result.metric;
  work.task.is_lower_better = result.is_perplexity();
  for (size_t i = 0; i < sides.a.size(); ++i)
    add_pair(paired_items(read(sides.a[i]), read(sides.b[i])), resampling, work);
  add_over_seeds(work.task);
  return work;
}

void add_holm(std::vector<TaskComparison>& tasks) {
  for (size_t pair = 0; pair < tasks[0].pairs.size(); ++pair) {
    std::vector<double> p;
    for (const TaskComparison& task : tasks) p.push_back(task.pairs[pair].difference.p);
    p = holm(p);
    for (size_t i = 0; i < tasks.size(); ++i) tasks[i].pairs[pair].p_holm = p[i];
  }
}

std::optional<TaskComparison> mean_of(const std::vector<Work>& all) {
  std::vector<const Work*> scored;
  for (const Work& work : all)
    if (!work.task.is_lower_better) scored.push_back(&work);
  if (scored.size() < 2) return std::nullopt;
  TaskComparison mean;
  mean.name = fmt::format("mean of {} tasks", scored.size());
  mean.metric = "score";
  for (const Work* work : scored) mean.items += work->task.items;
  for (size_t i = 0; i < scored[0]->task.pairs.size(); ++i) {
    PairComparison& pair = mean.pairs.emplace_back();
    std::vector<std::vector<double>> resampled;
    for (const Work* work : scored) {
      pair.a += work->task.pairs[i].a / static_cast<double>(scored.size());
      pair.b += work->task.pairs[i].b / static_cast<double>(scored.size());
      resampled.push_back(work->resampled[i]);
    }
    pair.difference = estimate(pair.a - pair.b, mean_over_tasks(resampled));
  }
  add_over_seeds(mean);
  return mean;
}

std::string perplexity_note(const TaskComparison& task, bool has_mean) {
  std::vector<std::string> values;
  for (const PairComparison& pair : task.pairs)
    values.push_back(fmt::format("{:.4f} against {:.4f}", std::exp(pair.a), std::exp(pair.b)));
  return fmt::format("{}: nats a trained token; perplexity, exp(loss): {}{}", task.name, fmt::join(values, ", "),
                     has_mean ? "; not in the mean of the scores" : "");
}

std::vector<std::string> notes_of(const Comparison& comparison) {
  std::vector<std::string> notes;
  for (const TaskComparison& task : comparison.tasks) {
    const int64_t units = task.groups > 0 ? task.groups : task.items;
    if (units < kFewUnits)
      notes.push_back(fmt::format("{}: {} {} only; bootstraps of so few give intervals too narrow and p too small",
                                  task.name, units, task.groups > 0 ? "groups" : "items"));
    if (task.is_lower_better) notes.push_back(perplexity_note(task, comparison.mean.has_value()));
  }
  if (const size_t pairs = comparison.tasks[0].pairs.size(); pairs == 2)
    notes.emplace_back("2 seeds: no interval over seeds, which needs 3");
  return notes;
}

}  // namespace

std::vector<std::string> notes_of_sides(const CompareOptions& options) {
  std::vector<EvaluationSettings> settings;
  std::set<fs::path> a;
  for (const fs::path& folder : options.a) a.insert(fs::canonical(folder));
  std::vector<std::string> notes;
  for (const fs::path& folder : options.b)
    if (a.contains(fs::canonical(folder))) notes.push_back(fmt::format("{} stands on both sides", folder.string()));
  for (const auto* side : {&options.a, &options.b})
    for (const fs::path& folder : *side) settings.push_back({folder.string(), read_settings(folder)});
  for (std::string& note : notes_of_settings(settings)) notes.push_back(std::move(note));
  return notes;
}

Comparison compare(const CompareOptions& options) {
  const Sides sides = {open_folders(options.a), open_folders(options.b)};
  check_pairs(sides);
  const bool are_chosen = !options.tasks.empty();
  std::set<std::string> tasks = wanted_tasks(sides, options.tasks);
  check_tasks(sides, tasks, are_chosen);
  for (const std::string& name : tasks) {
    check_metric(name, sides);
    check_shots(name, sides);
  }
  const std::vector<std::string> scoreless = take_scoreless(tasks, sides, are_chosen);
  std::vector<Work> all;
  for (const std::string& name : tasks) all.push_back(compare_task(name, sides, options.resampling));
  Comparison comparison;
  for (const Work& work : all) comparison.tasks.push_back(work.task);
  add_holm(comparison.tasks);
  comparison.mean = mean_of(all);
  comparison.notes = notes_of(comparison);
  for (const std::string& name : scoreless) comparison.notes.push_back(name + ": has no scores, so it is left out");
  return comparison;
}

}  // namespace spt
