// Reads what spt eval wrote: an evaluation folder's results.json and samples/TASK.jsonl.
//
//   results.json         {"evaluation", "tasks": {TASK: {"metric", "n", "shots", …}}}; without "shots" 0
//   samples/TASK.jsonl   {"id", "prompt", "gold", "score", "group", "options"}, one object a line; the last two may be
//                        missing or null; of a task without scores neither "gold" nor "score";
//                        of one whose metric is perplexity {"id", "nll", "trained_tokens"}
//
// Other fields are ignored.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace spt {

struct Sample {
  int64_t line = 0;  // of its file, from 1
  std::string id;
  // The last two as JSON text; all empty of a perplexity task, gold of one without scores.
  std::string prompt, gold, options;
  std::optional<std::string> group;
  double score = 0;            // 0 to 1; of a perplexity task Σ −log p over the trained tokens
  int64_t trained_tokens = 1;  // 1 where the task is no perplexity; 0: nothing was measured
};

struct TaskResult {
  std::string metric;
  int64_t shots = 0;  // worked examples in front of each question
  int64_t n = 0;      // samples that count: all, or those with a trained token
  bool is_perplexity() const { return metric == "perplexity"; }
  bool has_scores() const { return metric != "none"; }  // those of kind open have none
};

// With what the model wrote, as far as its kind of task has it (trainer/eval_samples.h).
struct AnsweredSample : Sample {
  std::optional<std::string> output, role, answer, conclusion, extracted;
  bool role_is_given = false;        // by eval.role, not by the model
  bool asks_for_extraction = false;  // then no `extracted` is an answer in which nothing was found
  std::optional<bool> cut;           // by the limit of new tokens
  std::optional<std::string> outcome;
  std::vector<double> loglikelihoods;  // of the options
};

// The tasks of results.json. Throws BadInput naming the file: no such folder, no results.json (eval
// writes it last: the evaluation has not finished), or another form.
std::map<std::string, TaskResult> read_results(const std::filesystem::path& folder);

struct EvaluationFolder {
  std::filesystem::path path;
  std::map<std::string, TaskResult> results;  // of path / results.json
};

// How an evaluation was made, null where the file does not say. Throws as read_results.
nlohmann::json read_settings(const std::filesystem::path& folder);

// The identity of an evaluation, "" where the file has none. Throws as read_results.
std::string evaluation_of(const std::filesystem::path& folder);

std::filesystem::path samples_file(const std::filesystem::path& folder, const std::string& task);

// All samples of a task, by id. Throws BadInput naming file and line: no such file, broken JSON, a field missing or of
// another type, a score outside 0 to 1, an id twice; and where `result.n` are not there.
std::vector<Sample> read_samples(const std::filesystem::path& folder, const std::string& task,
                                 const TaskResult& result);
// The same; throws as well where one of the further fields has another type.
std::vector<AnsweredSample> read_answered_samples(const std::filesystem::path& folder, const std::string& task,
                                                  const TaskResult& result);

[[noreturn]] void refuse_groups(const Sample& first, const Sample& other, const std::filesystem::path& file);
// Throws BadInput naming file and line where some samples have a group and others none.
template <class T>
void check_groups(const std::vector<T>& samples, const std::filesystem::path& file) {
  for (const T& sample : samples)
    if (sample.group.has_value() != samples[0].group.has_value()) refuse_groups(samples[0], sample, file);
}

}  // namespace spt
