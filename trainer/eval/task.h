// A benchmark as a YAML file: configs/tasks/NAME.yaml or the user's own; a new one needs no C++.
//
//   name: gsm8k
//   kind: generate        # the model answers, then is asked for the bare answer (trigger), which is extracted
//   data: {path: gsm8k/test.jsonl, format: jsonl}     # data/task_data.h
//   id: id                # a dotted path; without it, line numbers
//   group: file           # a dotted path, or `file`: the name of the data file without its ending
//   group_pattern: '(.+)_test'      # a regular expression whose first group is the group
//   prompt: "{question}"  # data/field_text.h
//   options: {from: question.choices, text: text, label: label, list: inline}
//   gold: "{answer}"      # a letter, a label, an index from 0, an option's text, a number, yes or no
//   gold_pattern: '#### (.+)'       # a regular expression whose first group is the answer
//   trigger: "Therefore, the answer (arabic numerals) is"     # {last} in it is the last option's letter
//   extract: number       # trainer/eval/extract.h
//   shots: {path: gsm8k/train.jsonl, answer: "\n{answer}"}    # worked examples, for eval.shots
//
//   kind: choice          # the log-likelihood of each option behind the prompt; nothing is generated
//   options: {from: question.choices, text: text, label: label, say: text}
//
//   kind: code            # the function that the model writes is run against tests (trainer/eval/sandbox.h)
//   code: {prompt: "{prompt}", test: "{test}", entry_point: "{entry_point}"}
//
//   kind: perplexity
//   data: {path: records.h5}        # a corpus, below the data root
#pragma once

#include <filesystem>
#include <optional>
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

// How options stand behind the question. kInline: " Answer Choices: (A) … (B) …"; kLines: "\nA. …\nB. …".
enum class OptionList { kNone, kInline, kLines };
inline std::vector<std::pair<std::string, OptionList>> enum_names(OptionList) {
  return {{"none", OptionList::kNone}, {"inline", OptionList::kInline}, {"lines", OptionList::kLines}};
}
// What is scored behind the prompt of kind choice.
enum class OptionSay { kText, kLetter };
inline std::vector<std::pair<std::string, OptionSay>> enum_names(OptionSay) {
  return {{"text", OptionSay::kText}, {"letter", OptionSay::kLetter}};
}
// Of kind choice: the option of the highest log-likelihood, or of the highest one a character of its text.
enum class ChoiceMetric { kAccuracy, kAccuracyNormalised };
inline std::vector<std::pair<std::string, ChoiceMetric>> enum_names(ChoiceMetric) {
  return {{"accuracy", ChoiceMetric::kAccuracy}, {"accuracy_normalised", ChoiceMetric::kAccuracyNormalised}};
}

struct TaskOptions {
  std::string from, text, label;
  std::vector<std::string> fields_of = {};
  OptionList list = OptionList::kNone;
  OptionSay say = OptionSay::kText;

  template <class F>
  void fields(F& f) {
    f("from", from,
      "dotted path to the list of options, or to an object whose names are the options and whose 1 is the gold one");
    f("text", text, "where the list holds objects: the field with the option");
    f("label", label, "where the list holds objects: the field with its label, which gold may be [A, B, …]");
    f("fields", fields_of, "instead of `from`: dotted paths, one an option");
    f("list", list, "how they stand behind the question: none, inline or lines");
    f("say", say, "kind choice: what is scored, text or letter");
  }
  bool given() const { return !from.empty() || !fields_of.empty(); }
};

// Kind code: what the program that scores an answer is made of; templates with fields of the record.
struct TaskCode {
  std::string prompt, test, entry_point;

  template <class F>
  void fields(F& f) {
    f("prompt", prompt, "the beginning of the module, which ends inside the function to complete");
    f("test", test, "defines check(candidate)");
    f("entry_point", entry_point, "the function's name");
  }
};

// Worked examples that may stand in front of a question (few-shot).
struct TaskShots {
  std::filesystem::path path;
  std::string answer;

  template <class F>
  void fields(F& f) {
    f("path", path, "records as those of data, other ones; of the question's own group where there are groups");
    f("answer", answer, "what stands behind an example's question, with fields of its record [a space and gold]");
  }
};

struct Task {
  std::string name;
  TaskKind kind = TaskKind::kPerplexity;
  TaskData data;
  std::string id, group, group_pattern, prompt, prompt_end;
  TaskOptions options;
  std::optional<uint64_t> shuffle_options;
  std::string gold, gold_pattern, trigger, extract;
  ChoiceMetric metric = ChoiceMetric::kAccuracy;
  TaskCode code;
  TaskShots shots;
  std::string role;

  template <class F>
  void fields(F& f) {
    f("name", name, "names samples/NAME.jsonl");
    f("kind", kind, "what is measured");
    f("data", data, "");
    f("id", id, "dotted path to the records' identifiers [line numbers]");
    f("group", group, "dotted path to what a record belongs to, e.g. a subject; `file`: its file's name");
    f("group_pattern", group_pattern, "regular expression whose first group is the group's name");
    f("prompt", prompt, "the question, with fields of the record in braces");
    f("prompt_end", prompt_end, "text behind the question and its options");
    f("options", options, "");
    f("shuffle_options", shuffle_options, "seed: each record's options in another order");
    f("gold", gold, "the right answer, with fields of the record in braces");
    f("gold_pattern", gold_pattern, "regular expression whose first group is the right answer in `gold`");
    f("trigger", trigger, "kind generate: what asks for the bare answer");
    f("extract", extract, "kind generate: number, letter, yes_no or a regular expression");
    f("metric", metric, "kind choice: accuracy or accuracy_normalised");
    f("code", code, "");
    f("shots", shots, "");
    f("role", role, "a role prompt written by hand, for eval.role=task");
  }
  void validate(std::vector<std::string>& errors) const;
};

// Throws BadInput naming file and line.
Task load_task(const std::filesystem::path& file);

struct TaskQuestion {
  std::string id, text;
};

// What a task asks, in the order of its data, without options. Throws BadInput: kind perplexity, which asks nothing; as
// read_task_data; a field of the prompt that a record lacks.
std::vector<TaskQuestion> read_questions(const Task& task, const std::filesystem::path& data_root);

}  // namespace spt
