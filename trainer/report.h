// `spt report`: everything that the page shows, collected and computed; launch/report_page.h writes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainer/eval/comparison.h"
#include "trainer/eval/role_statistics.h"
#include "trainer/eval/scores.h"
#include "trainer/report_judgements.h"
#include "trainer/report_runs.h"

namespace spt {

struct ReportOptions {
  std::vector<std::filesystem::path> runs, baseline;
  std::vector<std::string> tasks;  // empty: all
  Resampling resampling;
};

struct ReportEvaluation {
  EvaluationFacts facts;
  std::vector<TaskScore> scores;  // of the tasks that have any, by name
  std::optional<TaskScore> mean;  // over them
  // By task, but perplexities, whose examples hold no text.
  std::map<std::string, std::vector<AnsweredSample>> samples;
  std::map<std::string, RoleStatistics> roles;  // by task, of those that the model answers in words
};

struct ReportComparison {
  std::string a, b;                    // names: of an evaluation, or of several seeds
  std::vector<size_t> a_side, b_side;  // evaluations; pair i is of one seed
  Comparison found;                    // exactly as spt compare of these folders
};

struct Report {
  ReportOptions options;
  std::vector<ReportRun> runs;
  std::vector<size_t> arms;  // of each run: seeds of one arm have one number, which is its colour
  std::vector<ReportEvaluation> evaluations;
  std::vector<ReportComparison> comparisons;
  std::vector<ReportJudgement> judgements;
  std::vector<std::string> warnings;  // what a reader must know before the numbers
};

// Compares as `spt compare`: the runs with their baselines pair by pair, as seeds; without baselines each run with the
// last one that has an evaluation. Of runs with several evaluations those in folders of one name are compared, and
// where each run has one, these. Evaluations with no scored task are not compared. Throws BadInput: as
// read_report_folders and compare; other items in two evaluations of a task; as many baselines as runs are wanted, or
// none.
Report collect_report(const ReportOptions& options);

}  // namespace spt
