#include "trainer/report_runs.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/read_file.h"
#include "data/json_text.h"
#include "trainer/run_lock.h"
#include "trainer/typed_config.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// "2026-11-28 10:00:00" at the front of a line of log.txt, or nothing.
std::string time_of(std::string_view line) {
  constexpr std::string_view kForm = "0000-00-00 00:00:00";
  if (line.size() < kForm.size()) return {};
  for (size_t i = 0; i < kForm.size(); ++i)
    if (kForm[i] == '0' ? line[i] < '0' || line[i] > '9' : line[i] != kForm[i]) return {};
  return std::string(line.substr(0, kForm.size()));
}

void read_times(const fs::path& log, TrainingFacts& facts) {
  const std::string text = read_file(log);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (const std::string time = time_of(std::string_view(text).substr(begin, end - begin)); !time.empty()) {
      if (facts.begun.empty()) facts.begun = time;
      facts.ended = time;
    }
    begin = end + 1;
  }
}

TrainingFacts read_training(const fs::path& run) {
  TrainingFacts facts;
  if (is_there(run / "config.yaml")) facts.config = typed_config(run);
  if (const fs::path file = run / "manifest.json"; is_there(file))
    facts.manifest = parse_json_object(read_file(file), file.string());
  if (is_there(run / "metrics.jsonl")) facts.rows = read_metrics(run / "metrics.jsonl");
  if (is_there(run / "log.txt")) read_times(run / "log.txt", facts);
  facts.user = run_lock_holder(run);
  return facts;
}

EvaluationFacts read_evaluation(const fs::path& path, size_t run, const std::string& folder) {
  EvaluationFacts facts;
  facts.path = path;
  facts.run = run;
  facts.folder = folder;
  facts.results = read_results(path);
  const json results = parse_json_object(read_file(path / "results.json"), (path / "results.json").string());
  const auto text = [&](const char* key) {
    const auto found = results.find(key);
    return found != results.end() && found->is_string() ? found->get<std::string>() : "";
  };
  facts.identity = text("evaluation");
  facts.model = text("model");
  if (const auto settings = results.find("settings"); settings != results.end() && settings->is_object())
    facts.settings = *settings;
  return facts;
}

std::vector<std::string> sub_folders(const fs::path& run) {
  std::vector<std::string> names;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run, none))
    if (entry.is_directory(none)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// The parts of a path, "runs/x/" and "runs/./x" being those of "runs/x".
std::vector<std::string> parts_of(const fs::path& path) {
  std::vector<std::string> parts;
  for (const fs::path& part : path.lexically_normal())
    if (!part.empty() && part != ".") parts.push_back(part.string());
  return parts;
}

std::string last_parts(const fs::path& path, size_t count) {
  const std::vector<std::string> parts = parts_of(path);
  std::string text;
  for (size_t i = parts.size() - std::min(count, parts.size()); i < parts.size(); ++i)
    text += (text.empty() || text == "/" ? "" : "/") + parts[i];
  return text.empty() ? path.string() : text;
}

void name_runs(std::vector<ReportRun>& runs) {
  size_t longest = 1;
  for (const ReportRun& run : runs) longest = std::max(longest, parts_of(run.path).size());
  for (size_t count = 1; count <= longest; ++count) {
    std::set<std::string> names;
    for (ReportRun& run : runs) names.insert(run.name = last_parts(run.path, count));
    if (names.size() == runs.size()) return;
  }
}

void name_evaluations(ReportFolders& found) {
  std::vector<int> of_run(found.runs.size(), 0);
  for (const EvaluationFacts& evaluation : found.evaluations) ++of_run[evaluation.run];
  for (EvaluationFacts& evaluation : found.evaluations) {
    evaluation.name = found.runs[evaluation.run].name;
    if (of_run[evaluation.run] > 1 && !evaluation.folder.empty()) evaluation.name += "/" + evaluation.folder;
  }
}

void add_folder(const fs::path& path, ReportFolders& found) {
  std::error_code error;
  if (!fs::is_directory(path, error)) throw BadInput(fmt::format("{}: is no folder", path.string()));
  for (const ReportRun& run : found.runs)
    if (fs::equivalent(run.path, path, error))
      throw BadInput(fmt::format("{} is given twice; name each run once", path.string()));
  const size_t run = found.runs.size();
  found.runs.push_back({path, "", std::nullopt});
  if (is_there(path / "manifest.json") || is_there(path / "metrics.jsonl"))
    found.runs[run].training = read_training(path);
  const size_t before = found.evaluations.size();
  if (is_there(path / "results.json")) found.evaluations.push_back(read_evaluation(path, run, ""));
  for (const std::string& folder : sub_folders(path)) {
    if (is_there(path / folder / "results.json"))
      found.evaluations.push_back(read_evaluation(path / folder, run, folder));
    else if (is_there(path / folder / "journal"))
      found.unended.push_back(path / folder);
  }
  if (!found.runs[run].training && found.evaluations.size() == before)
    throw BadInput(
        fmt::format("{}: holds neither a training run (manifest.json, metrics.jsonl) nor a finished evaluation "
                    "(results.json, here or in a folder of it)",
                    path.string()));
}

}  // namespace

bool TrainingFacts::is_unfinished() const {
  const json steps = in_manifest("/steps");
  return steps.is_number_integer() && (rows.empty() || rows.back().step < steps.get<int64_t>());
}

json TrainingFacts::in_manifest(const char* pointer) const {
  const json::json_pointer path(pointer);
  return manifest.is_object() && manifest.contains(path) ? manifest.at(path) : json();
}

std::string TrainingFacts::program() const {
  const json version = in_manifest("/program/version"), commit = in_manifest("/program/git_commit");
  if (!version.is_string() || !commit.is_string()) return {};
  return fmt::format("spt {} ({})", version.get<std::string>(), commit.get<std::string>());
}

ReportFolders read_report_folders(const std::vector<fs::path>& folders) {
  ReportFolders found;
  for (const fs::path& folder : folders) add_folder(folder, found);
  name_runs(found.runs);
  name_evaluations(found);
  return found;
}

}  // namespace spt
