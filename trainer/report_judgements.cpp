#include "trainer/report_judgements.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/read_file.h"
#include "data/json_text.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kVersion = 1;

// null where there is nothing to be a share of.
JudgedShare share_of(const json& value) {
  const auto number = [&](const char* key) { return value.at(key).is_null() ? 0 : value.at(key).get<double>(); };
  return {number("share"), number("low"), number("high")};
}

JudgedShares shares_of(const json& value) {
  return {value.at("n").get<int64_t>(), share_of(value.at("win")), share_of(value.at("tie")),
          share_of(value.at("lose"))};
}

std::optional<double> number_in(const json& object, const char* section, const char* key) {
  const auto found = object.find(section);
  if (found == object.end() || !found->is_object() || !found->contains(key) || found->at(key).is_null())
    return std::nullopt;
  return found->at(key).get<double>();
}

JudgedTask task_of(const std::string& name, const json& value) {
  JudgedTask task;
  task.name = name;
  task.all = shares_of(value);
  if (value.contains("length_matched") && value["length_matched"].is_object())
    task.length_matched = shares_of(value["length_matched"]);
  task.first = number_in(value, "position_bias", "first");
  task.second = number_in(value, "position_bias", "second");
  task.consistent = number_in(value, "position_bias", "consistent");
  task.mean_words_a = number_in(value, "mean_words", "a");
  task.mean_words_b = number_in(value, "mean_words", "b");
  task.identical = value.value("identical", int64_t{0});
  task.unparsed = value.value("unparsed", int64_t{0});
  task.unanswered = value.value("unanswered", int64_t{0});
  task.notes = value.value("notes", std::vector<std::string>());
  return task;
}

ReportJudgement read_judgement(const fs::path& file) try {
  const json object = parse_json_object(read_file(file), file.string());
  if (object.value("format", "") != "spt-judgement")
    throw BadInput(fmt::format(R"({}: is not what spt judge writes: no "format": "spt-judgement")", file.string()));
  if (const auto version = object.at("version").get<int64_t>(); version > kVersion)
    throw BadInput(fmt::format("{}: is of version {}, this program reads up to {}; use a newer spt", file.string(),
                               version, kVersion));
  ReportJudgement found;
  found.file = file;
  found.a = object.at("a").get<std::string>();
  found.b = object.at("b").get<std::string>();
  found.a_identity = object.value("a_evaluation", "");
  found.b_identity = object.value("b_evaluation", "");
  const json& judge = object.at("judge");
  found.judge = judge.at("model").get<std::string>();
  for (const char* place : {"endpoint", "checkpoint"})
    if (judge.contains(place) && judge[place].is_string()) found.place = judge[place].get<std::string>();
  found.keep_role = judge.value("keep_role", false);
  for (const auto& [name, task] : object.at("tasks").items()) found.tasks.push_back(task_of(name, task));
  return found;
} catch (const json::exception& error) {
  throw BadInput(fmt::format("{}: is not what spt judge writes: {}", file.string(), json_reason(error)));
}

}  // namespace

std::vector<ReportJudgement> judgements_below(const fs::path& evaluation) {
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(evaluation / "judge", none))
    if (const fs::path file = entry.path() / "judgement.json"; fs::exists(file, none)) files.push_back(file);
  std::sort(files.begin(), files.end());
  std::vector<ReportJudgement> found;
  for (const fs::path& file : files) found.push_back(read_judgement(file));
  return found;
}

}  // namespace spt
