// Every finished sample on disk as it comes, so that a killed evaluation goes on where it was, on any number of ranks.
// JSON lines in RUN/journal/rank-00000.jsonl, one file a data-parallel rank:
//
//   {"format": "spt-eval-journal", "version": 1, "depends_on": {what samples depend on, by name}}
//   {"task", "id", …}   a sample as samples/TASK.jsonl has it, with its task
//
// A line is in the kernel's hands when `append` returns, and on the disk a second later at most while samples come. A
// torn last line is left out and, by the rank that goes on in that file, cut.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace spt {

// Of what two evaluations depend on: what differs, for a message: "eval.role, task mmlu (its file …)"; "" where they
// are one.
std::string differing_facts(const nlohmann::json& found, const nlohmann::json& now);

// The samples in all files of the folder; none where there is no folder. Throws BadInput: files of another evaluation
// (with what differs and the way out), a broken line.
std::vector<nlohmann::ordered_json> read_eval_journal(const std::filesystem::path& folder,
                                                      const nlohmann::json& depends_on);

class EvalJournal {
 public:
  EvalJournal(const std::filesystem::path& folder, int rank, const nlohmann::json& depends_on);
  ~EvalJournal();
  EvalJournal(const EvalJournal&) = delete;
  EvalJournal& operator=(const EvalJournal&) = delete;

  void append(const nlohmann::ordered_json& sample);  // throws Failure: a full disk
  void sync();

 private:
  void write(const std::string& line);

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::chrono::steady_clock::time_point last_sync_ = std::chrono::steady_clock::now();
};

// What all ranks have written since it was made, by reading the ends of their files: progress without a message between
// ranks.
class JournalWatch {
 public:
  explicit JournalWatch(std::filesystem::path folder);

  struct Progress {
    int64_t samples = 0;
    int64_t scored = 0;
    double score = 0;  // sum
  };
  const Progress& look();

 private:
  struct File {
    uintmax_t read = 0;
    std::string rest;  // of a line that is not whole yet
  };
  void look_at(const std::filesystem::path& path, bool count);

  std::filesystem::path folder_;
  std::map<std::string, File> files_;
  Progress progress_;
};

}  // namespace spt
