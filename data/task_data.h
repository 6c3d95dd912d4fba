// The files of a benchmark as its authors publish them → records with fields.
//
//   jsonl  one object a line
//   json   a list of objects, at the dotted path `records` of the file (its root without one)
//   csv    `columns` names the cells; without it the first row does
//
// Each may be packed with gzip. `path` lies below the data root and may be a glob ("mmlu/test/*.csv",
// "{train,dev}.json"); its files are read in the order of their names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace spt {

enum class TaskFormat { kJsonl, kJson, kCsv };
inline std::vector<std::pair<std::string, TaskFormat>> enum_names(TaskFormat) {
  return {{"jsonl", TaskFormat::kJsonl}, {"json", TaskFormat::kJson}, {"csv", TaskFormat::kCsv}};
}

// Whether a path or glob of a task file can only lead below the data root (through links in it, elsewhere): task files
// come from others.
bool stays_below_root(const std::filesystem::path& pattern);

// Section `data` of a task file.
struct TaskData {
  std::filesystem::path path;
  TaskFormat format = TaskFormat::kJsonl;
  std::string records = {};
  std::vector<std::string> columns = {};

  template <class F>
  void fields(F& f) {
    f("path", path, "file below the data root, or a glob");
    f("format", format, "jsonl, json or csv; each may be packed with gzip");
    f("records", records, "json: dotted path to the list of records");
    f("columns", columns, "csv without a first row of names: the names");
  }
  void validate(std::vector<std::string>& errors) const;
};

struct TaskRecord {
  std::string id;
  nlohmann::json fields;  // an object
  std::filesystem::path file;
  std::string where;  // "FILE:LINE", in a json list "FILE: record N": for messages
};

// `id` is a dotted path to the records' identifiers; where it is empty a record is called by its line (in a json list
// its number, from 1), after the name of its file where there are several: "anatomy_test:3". Throws BadInput naming
// file and place: no such file, not UTF-8, broken, no record, a row with another number of cells, an id twice.
std::vector<TaskRecord> read_task_data(const std::filesystem::path& root, const TaskData& data, const std::string& id);

}  // namespace spt
