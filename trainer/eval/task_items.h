// A task's records as what is put to the model, and what would be right.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "trainer/eval/task.h"

namespace spt {

struct TaskItem {
  std::string id;
  std::string group;                 // empty where the task has none
  std::string prompt;                // the question with its options and prompt_end
  std::vector<std::string> options;  // their texts, in the order in which they are shown
  std::string
      gold;  // a letter where there are options; a number, yes or no as `extract` normalises them; else as it is
  std::string role;  // the task's, written by hand
  TaskCode code;     // filled in; empty but for kind code
};

// In the order of the data. Throws BadInput naming file and place: as read_questions; options that are no texts, fewer
// than 2 or more than 26; gold that is none of the options or in which nothing is found.
std::vector<TaskItem> read_items(const Task& task, const std::filesystem::path& data_root);

// `limit` of them by seed, in their order: every group gives its share of all items (largest remainders), so that a
// small sample has the subjects of the whole.
std::vector<TaskItem> sample_items(std::vector<TaskItem> items, int64_t limit, uint64_t seed);

// Worked examples as they stand in front of a question: "QUESTION ANSWER", a blank line behind each.
struct Shots {
  std::string text;
  std::vector<std::string> prompts;  // of the examples
};

// The first `count` (at least 1) examples of each group, in their order; by the group's name, "" where the task has
// none. Throws BadInput: the task names none, or as read_items, or a group has fewer.
std::map<std::string, Shots> read_shots(const Task& task, const std::filesystem::path& data_root, int64_t count);

// "A", "B", … "Z".
std::string option_letter(size_t index);

}  // namespace spt
