#include "trainer/eval/open_pairs.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "data/json_text.h"
#include "data/trimmed.h"
#include "trainer/eval/same_items.h"
#include "trainer/eval/samples.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> open_tasks(const EvaluationFolder& a, const EvaluationFolder& b) {
  std::set<std::string> names;
  for (const EvaluationFolder* folder : {&a, &b})
    for (const auto& [name, result] : folder->results)
      if (!result.has_scores()) names.insert(name);
  if (names.empty())
    throw BadInput(
        fmt::format("{} has no task of kind open (configs/tasks/vicuna_open.yaml is one): without written "
                    "answers there is nothing to judge",
                    (a.path / "results.json").string()));
  return {names.begin(), names.end()};
}

void check_task(const std::string& name, const EvaluationFolder& folder) {
  const auto found = folder.results.find(name);
  if (found == folder.results.end())
    throw BadInput(fmt::format("{} has no task {}: judge others with --tasks, or evaluate it there too",
                               (folder.path / "results.json").string(), brief(name)));
  if (found->second.has_scores())
    throw BadInput(
        fmt::format("{}: task {} has scores ({}): only answers of kind open are judged; spt compare "
                    "compares scores",
                    (folder.path / "results.json").string(), brief(name), brief(found->second.metric)));
}

// What a judge sees of an answer.
std::string shown_text(const AnsweredSample& sample, const fs::path& file, bool keep_role) {
  if (!sample.output || !sample.answer)
    throw BadInput(fmt::format("{}:{}: the field \"{}\" is missing, without which nothing can be judged", file.string(),
                               sample.line, sample.output ? "answer" : "output"));
  return trimmed(keep_role ? *sample.output : *sample.answer);
}

OpenTask read_task(const std::string& name, const EvaluationFolder& a, const EvaluationFolder& b, bool keep_role) {
  if (const int64_t of_a = a.results.at(name).shots, of_b = b.results.at(name).shots; of_a != of_b)
    throw BadInput(fmt::format("task {} was asked behind {} examples in {} and {} in {} (eval.shots)", brief(name),
                               of_a, a.path.string(), of_b, b.path.string()));
  const fs::path file_a = samples_file(a.path, name), file_b = samples_file(b.path, name);
  const auto of_a = read_answered_samples(a.path, name, a.results.at(name)),
             of_b = read_answered_samples(b.path, name, b.results.at(name));
  check_same_items(file_a, {of_a.begin(), of_a.end()}, file_b, {of_b.begin(), of_b.end()});
  if (of_a.empty()) throw BadInput(fmt::format("{}: has no sample", file_a.string()));
  std::vector<size_t> order(of_a.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t x, size_t y) { return of_a[x].line < of_a[y].line; });
  OpenTask task{name, {}};
  for (const size_t i : order)
    task.pairs.push_back(
        {of_a[i].id, of_a[i].prompt, shown_text(of_a[i], file_a, keep_role), shown_text(of_b[i], file_b, keep_role)});
  return task;
}

}  // namespace

std::vector<OpenTask> read_open_tasks(const fs::path& a, const fs::path& b, const std::vector<std::string>& tasks,
                                      bool keep_role) {
  const EvaluationFolder of_a{a, read_results(a)}, of_b{b, read_results(b)};
  const std::vector<std::string> names = tasks.empty() ? open_tasks(of_a, of_b) : tasks;
  if (std::set<std::string>(names.begin(), names.end()).size() < names.size())
    throw BadInput(fmt::format("--tasks names a task twice: {}", fmt::join(names, ", ")));
  std::vector<OpenTask> read;
  for (const std::string& name : names) {
    for (const EvaluationFolder* folder : {&of_a, &of_b}) check_task(name, *folder);
    read.push_back(read_task(name, of_a, of_b, keep_role));
  }
  return read;
}

}  // namespace spt
