// What `spt report` finds in the folders that it is given: training runs, evaluations, judgements.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "trainer/eval/samples.h"
#include "trainer/metrics.h"

namespace spt {

// NOLINTNEXTLINE(bugprone-exception-escape): moving a nlohmann::json only asserts
struct TrainingFacts {
  nlohmann::ordered_json config;    // by dotted key (trainer/typed_config.h); null without config.yaml
  nlohmann::json manifest;          // null without manifest.json
  std::vector<MetricsRow> rows;     // of metrics.jsonl; empty without
  std::string begun, ended;         // "2026-11-28 10:00:00": the first and the last line of log.txt; empty without
  std::optional<std::string> user;  // who is at work in the folder (trainer/run_lock.h)
  // Where the manifest says how long the run is and its rows do not reach it.
  bool is_unfinished() const;
  // What stands at a JSON pointer of the manifest; null where nothing does.
  nlohmann::json in_manifest(const char* pointer) const;
  std::string program() const;  // "spt 0.1.0 (41b92a7)"; empty where the manifest does not say
};

struct ReportRun {
  std::filesystem::path path;
  std::string name;  // as few of the path's last folders as tell the runs apart
  std::optional<TrainingFacts> training;
};

// NOLINTNEXTLINE(bugprone-exception-escape): as TrainingFacts
struct EvaluationFacts {
  std::filesystem::path path;
  size_t run = 0;
  std::string folder;    // below the run: "eval"; empty where the run is the evaluation
  std::string name;      // of the run, and of the folder where the run has several
  std::string identity;  // of results.json: a hash of what its samples depend on; empty without
  std::string model;
  nlohmann::json settings;  // of results.json; null without
  std::map<std::string, TaskResult> results;
};

struct ReportFolders {
  std::vector<ReportRun> runs;                 // in the order given
  std::vector<EvaluationFacts> evaluations;    // by run, then by folder
  std::vector<std::filesystem::path> unended;  // evaluations that were begun and have no results.json
};

// Each folder is a training run (manifest.json or metrics.jsonl), of which every sub-folder with results.json is an
// evaluation, or an evaluation (results.json), or both. Throws BadInput: a folder that is neither, one given twice, a
// damaged file (a torn last line of metrics.jsonl is left out).
ReportFolders read_report_folders(const std::vector<std::filesystem::path>& folders);

}  // namespace spt
