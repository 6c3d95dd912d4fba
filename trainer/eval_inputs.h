// What an evaluation measures, opened and checked before any weights are read.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "data/tokenizer.h"
#include "trainer/eval/choice.h"
#include "trainer/eval/prompter.h"
#include "trainer/eval/task_items.h"
#include "trainer/eval_config.h"
#include "trainer/model/model_config.h"

namespace spt {

struct EvalItem {
  size_t task = 0;  // of EvalInputs::tasks
  TaskItem item;    // of a corpus: its id is the row, and nothing else is there
  std::optional<std::string> given_role;
  int64_t tokens = 0;  // that the model reads of it, with the examples in front
};

struct EvalInputs {
  ModelConfig model;
  std::unique_ptr<Tokenizer> tokenizer;
  Prompter prompter;
  bool forbid_role = false;
  bool sandboxed = true;  // how code is run
  std::vector<Task> tasks;
  std::vector<std::unique_ptr<Dataset>> corpora;    // by task; null where it asks questions
  std::vector<std::map<std::string, Shots>> shots;  // by task and group; empty where there are none
  std::vector<EvalItem> items;                      // of all tasks, in order
  nlohmann::json depends_on;                        // what a sample depends on but the weights: {"eval.role": …}
};

// Throws BadInput naming the file: everything load_task refuses; two tasks of one name; code that this machine cannot
// confine.
std::vector<Task> load_tasks(const EvalConfig& config);

// Throws BadInput naming file and line: everything load_tasks, read_items and GivenRoles refuse; a corpus of another
// tokenizer; an item too long for the model.
EvalInputs load_eval_inputs(const EvalConfig& config);

// The examples in front of the item's question; "" where there are none.
const std::string& shots_of(const EvalInputs& inputs, const EvalItem& item);
// What the model reads: examples, question, a given role.
std::vector<int32_t> prompt_ids(const EvalInputs& inputs, const EvalItem& item);
// The prompt's ids with what is behind it, as kind choice scores it.
ChoiceQuestion choice_question(const EvalInputs& inputs, const EvalItem& item);
std::vector<int32_t> trigger_ids(const EvalInputs& inputs, const EvalItem& item);  // empty: the task has none

// The first `count` prompts of each task as the model reads them, special tokens as they are written, with options and
// gold answer: for people.
std::string show_prompts(const EvalInputs& inputs, int64_t count);

}  // namespace spt
