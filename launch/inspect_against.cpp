#include "launch/inspect_against.h"

#include <map>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "data/contamination.h"
#include "trainer/eval/task.h"

namespace spt {
namespace {

struct TaskCounts {
  int64_t items = 0, too_short = 0;
  std::set<std::string> items_found, records_found;
};

}  // namespace

nlohmann::ordered_json find_overlaps(const InspectOptions& options, const EachRecord& each_record) {
  if (options.ngram < 1) throw BadInput(fmt::format("--ngram is {}, must be at least 1", options.ngram));
  ContaminationIndex index(static_cast<size_t>(options.ngram));
  std::vector<std::string> names;
  std::map<std::string, TaskCounts> counts;
  for (const std::filesystem::path& file : options.against) {
    const Task task = load_task(file);
    if (counts.contains(task.name))
      throw BadInput(fmt::format("{}: a task named {} is given twice; rename one", file.string(), task.name));
    names.push_back(task.name);
    TaskCounts& count = counts[task.name];
    try {
      for (const TaskQuestion& question : read_questions(task, options.data_root)) {
        ++count.items;
        count.too_short += !index.add(task.name, question.id, question.text);
      }
    } catch (const BadInput& error) {
      throw BadInput(
          fmt::format("{}: {}; --data-root names the folder of the benchmarks", file.string(), error.what()));
    }
  }

  nlohmann::ordered_json overlaps = nlohmann::ordered_json::array();
  each_record([&](const std::string& record, const std::vector<std::string>& texts) {
    for (const Overlap& overlap : index.find(record, texts)) {
      counts[overlap.task].items_found.insert(overlap.item);
      counts[overlap.task].records_found.insert(overlap.record);
      overlaps.push_back({{"record", overlap.record},
                          {"task", overlap.task},
                          {"item", overlap.item},
                          {"shared", overlap.shared},
                          {"runs", overlap.runs},
                          {"words", overlap.words}});
    }
  });

  nlohmann::ordered_json tasks = nlohmann::ordered_json::array();
  for (const std::string& name : names) {
    const TaskCounts& count = counts[name];
    tasks.push_back({{"task", name},
                     {"items", count.items},
                     {"too_short", count.too_short},
                     {"items_found", count.items_found.size()},
                     {"records_found", count.records_found.size()}});
  }
  return {{"ngram", options.ngram}, {"tasks", tasks}, {"overlaps", overlaps}};
}

}  // namespace spt
