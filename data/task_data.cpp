#include "data/task_data.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <glob.h>

#include "base/error.h"
#include "data/csv.h"
#include "data/field_text.h"
#include "data/gz_file.h"
#include "data/json_text.h"
#include "data/utf8.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMaxFileBytes = size_t{1} << 30;  // far above any benchmark

[[noreturn]] void fail(const std::string& where, const std::string& message) {
  throw BadInput(fmt::format("{}: {}", where, message));
}

std::vector<fs::path> files_of(const fs::path& root, const fs::path& pattern) {
  const fs::path whole = root / pattern;
  glob_t found{};
  const int status = glob(whole.c_str(), GLOB_BRACE, nullptr, &found);
  std::vector<fs::path> files(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  if (status == GLOB_NOSPACE) throw Failure(fmt::format("{}: no memory to look for files", whole.string()));
  if (files.empty())
    fail(whole.string(), fmt::format("no such file; the task's file says '{}', looked for below eval.data.root '{}'",
                                     pattern.string(), root.string()));
  std::sort(files.begin(), files.end());
  return files;
}

json parse_task_json(std::string_view text, const std::string& where) {
  try {
    return json::parse(text, unique_keys([&](const std::string& key) {
                         fail(where, fmt::format("has the field \"{}\" twice", key));
                       }));
  } catch (const json::exception&) {
    fail(where, "is not JSON");
  }
}

// Calls add(record, line) for each.
template <class F>
void read_jsonl(std::string_view text, const fs::path& file, F&& add) {
  int64_t line = 1;
  for (size_t begin = 0; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view written = text.substr(begin, end - begin);
    if (written.find_first_not_of(" \t\r") != std::string_view::npos)
      add(parse_task_json(written, fmt::format("{}:{}", file.string(), line)), line);
    begin = end + 1;
  }
}

template <class F>
void read_json(std::string_view text, const std::string& path, const fs::path& file, F&& add) {
  json root = parse_task_json(text, file.string());
  const json* list = path.empty() ? &root : find_field(root, path);
  if (list == nullptr || !list->is_array())
    fail(file.string(), path.empty() ? "is no list; name the path to it with data.records"
                                     : fmt::format("has no list at data.records '{}'", path));
  for (size_t i = 0; i < list->size(); ++i) add((*list)[i], static_cast<int64_t>(i) + 1);
}

template <class F>
void read_csv(std::string_view text, std::vector<std::string> columns, const fs::path& file, F&& add) {
  for (CsvRow& row : parse_csv(text, file.string())) {
    if (columns.empty()) {
      columns = std::move(row.cells);
      std::set<std::string> seen;
      for (const std::string& column : columns)
        if (!seen.insert(column).second)
          fail(fmt::format("{}:{}", file.string(), row.line), fmt::format("has the column \"{}\" twice", column));
      continue;
    }
    if (row.cells.size() != columns.size())
      fail(fmt::format("{}:{}", file.string(), row.line),
           fmt::format("has {} cells, expected {} ({})", row.cells.size(), columns.size(), fmt::join(columns, ", ")));
    json record = json::object();
    for (size_t i = 0; i < columns.size(); ++i) record[columns[i]] = std::move(row.cells[i]);
    add(std::move(record), row.line);
  }
}

}  // namespace

bool stays_below_root(const fs::path& pattern) {
  // Braces of a glob have names in them too: {../a,b}.
  const std::string text = pattern.string();
  constexpr const char* kEnds = "/{},";
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find_first_of(kEnds, begin), text.size());
    if (text.substr(begin, end - begin) == "..") return false;
    begin = end + 1;
  }
  return text.empty() ||
         (text[0] != '/' && text.find("{/") == std::string::npos && text.find(",/") == std::string::npos);
}

void TaskData::validate(std::vector<std::string>& errors) const {
  if (path.empty()) errors.push_back("path is missing");
  if (!stays_below_root(path))
    errors.push_back(fmt::format("path is {}, must lie below eval.data.root: relative, without ..", path.string()));
  if (!records.empty() && format != TaskFormat::kJson) errors.push_back("records is for format json only");
  if (!columns.empty() && format != TaskFormat::kCsv) errors.push_back("columns is for format csv only");
}

std::vector<TaskRecord> read_task_data(const fs::path& root, const TaskData& data, const std::string& id) {
  std::vector<TaskRecord> records;
  std::map<std::string, std::string> places;  // by id
  const std::vector<fs::path> files = files_of(root, data.path);
  for (const fs::path& file : files) {
    const auto add = [&](json fields, int64_t number) {
      const std::string where = data.format == TaskFormat::kJson ? fmt::format("{}: record {}", file.string(), number)
                                                                 : fmt::format("{}:{}", file.string(), number);
      if (!fields.is_object()) fail(where, fmt::format("is {}, expected an object", fields.type_name()));
      std::string name;
      try {
        name = !id.empty()         ? field_text(fields, id)
               : files.size() == 1 ? std::to_string(number)
                                   : fmt::format("{}:{}", file.stem().string(), number);
      } catch (const BadInput& error) {
        fail(where, fmt::format("{} (the task's id)", error.what()));
      }
      if (const auto [there, fresh] = places.emplace(name, where); !fresh)
        fail(where, fmt::format("the id '{}' stands at {} already", name, there->second));
      records.push_back({std::move(name), std::move(fields), file, where});
    };
    const std::string text = read_gz_or_plain(file, kMaxFileBytes);
    if (!is_utf8(text)) fail(file.string(), "is not UTF-8 text");
    if (data.format == TaskFormat::kJsonl) read_jsonl(text, file, add);
    if (data.format == TaskFormat::kJson) read_json(text, data.records, file, add);
    if (data.format == TaskFormat::kCsv) read_csv(text, data.columns, file, add);
  }
  if (records.empty()) fail((root / data.path).string(), "has no records in it");
  return records;
}

}  // namespace spt
