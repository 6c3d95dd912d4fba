// The answers of two evaluations to the same open questions.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace spt {

struct OpenPair {
  std::string id, question;
  std::string a, b;  // the answers, without white space around them
};

struct OpenTask {
  std::string name;
  std::vector<OpenPair> pairs;  // in the order of a's file
};

// Of the `tasks`, or, where none are named, of all tasks of kind open that one of the folders has. Answers are without
// their role, or as they were written where `keep_role`. Throws BadInput: as read_results, read_samples and
// check_same_items; a task that a folder lacks, that has scores, that is named twice, or that
// was asked behind another number of examples; no task, no sample.
std::vector<OpenTask> read_open_tasks(const std::filesystem::path& a, const std::filesystem::path& b,
                                      const std::vector<std::string>& tasks, bool keep_role);

}  // namespace spt
