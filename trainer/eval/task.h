// A benchmark as a YAML file: configs/tasks/NAME.yaml or the user's own.
//
//   name: held_out
//   kind: perplexity
//   data: {path: records.h5}     # a corpus, below the data root
//
//   name: gsm8k
//   kind: generate
//   data: {path: bench/gsm8k/test.jsonl, format: jsonl}     # data/task_data.h
//   id: id                       # a dotted path; without it, line numbers
//   prompt: "{question}"         # data/field_text.h
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "data/task_data.h"

namespace spt {

enum class TaskKind { kGenerate, kChoice, kCode, kOpen, kPerplexity };
inline std::vector<std::pair<std::string, TaskKind>> enum_names(TaskKind) {
  return {{"generate", TaskKind::kGenerate},
          {"choice", TaskKind::kChoice},
          {"code", TaskKind::kCode},
          {"open", TaskKind::kOpen},
          {"perplexity", TaskKind::kPerplexity}};
}

struct Task {
  std::string name;
  TaskKind kind = TaskKind::kPerplexity;
  TaskData data;
  std::string id, prompt;

  template <class F>
  void fields(F& f) {
    f("name", name, "names samples/NAME.jsonl");
    f("kind", kind, "what is measured");
    f("data", data, "");
    f("id", id, "dotted path to the records' identifiers [line numbers]");
    f("prompt", prompt, "the question, with fields of the record in braces");
  }
  void validate(std::vector<std::string>& errors) const;
};

// Throws BadInput naming file and line.
Task load_task(const std::filesystem::path& file);

struct TaskQuestion {
  std::string id, text;
};

// What a task asks, in the order of its data. Throws BadInput: kind perplexity, which asks nothing; as read_task_data;
// a field of the prompt that a record lacks.
std::vector<TaskQuestion> read_questions(const Task& task, const std::filesystem::path& data_root);

}  // namespace spt
