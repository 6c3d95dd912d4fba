#include "trainer/eval/task.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "base/error.h"
#include "data/config_file.h"
#include "data/field_text.h"
#include "trainer/eval/extract.h"

namespace spt {
namespace {

// It names a file.
bool is_file_name(const std::string& name) {
  constexpr size_t kLongest = 100;
  const auto is_plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.'; };
  return !name.empty() && name.size() <= kLongest && name[0] != '.' && std::all_of(name.begin(), name.end(), is_plain);
}

// Calls `use`; what it refuses is an error of `key`.
template <class F>
void check(const char* key, std::vector<std::string>& errors, F&& use) {
  try {
    use();
  } catch (const BadInput& error) {
    errors.push_back(fmt::format("{} has {}", key, error.what()));
  }
}

}  // namespace

void Task::validate(std::vector<std::string>& errors) const {
  const auto require = [&](bool holds, const std::string& message) {
    if (!holds) errors.emplace_back(message);
  };
  if (!is_file_name(name))
    errors.push_back(
        fmt::format("name is '{}', must be 1 to 100 letters, digits, _, - and points, no point first", name));
  if (kind == TaskKind::kPerplexity) return;
  require(!prompt.empty(), "prompt is missing: what is asked, e.g. \"{question}\"");
  check("prompt", errors, [&] { FieldText{prompt}; });
  check("gold", errors, [&] { FieldText{gold}; });
  check("code", errors, [&] {
    for (const std::string& text : {code.prompt, code.test, code.entry_point}) const FieldText parsed(text);
  });
  if (kind == TaskKind::kCode)
    require(!code.prompt.empty() && !code.test.empty() && !code.entry_point.empty(),
            "code.prompt, code.test and code.entry_point are needed by kind code");
  check("role", errors, [&] { FieldText{role}; });
  check("shots.answer", errors, [&] { FieldText{shots.answer}; });
  require(stays_below_root(shots.path),
          fmt::format("shots.path is {}, must lie below eval.data.root: relative, without ..", shots.path.string()));
  if (!group_pattern.empty()) check("group_pattern", errors, [&] { Extractor{group_pattern}; });
  require(group_pattern.empty() || !group.empty(), "group_pattern needs group");
  require(shots.answer.empty() || !shots.path.empty(), "shots.path is missing: where the examples are");
  if (!gold_pattern.empty()) check("gold_pattern", errors, [&] { Extractor{gold_pattern}; });
  require(options.from.empty() || options.fields_of.empty(),
          "options.from and options.fields are both given: keep one");
  if (kind == TaskKind::kChoice) {
    require(options.given(), "options is missing: where a record's options are");
    require(trigger.empty(), "trigger is for kind generate only");
    require(extract.empty(), "extract is for kind generate only");
  }
  if (kind == TaskKind::kGenerate) {
    require(!gold.empty() || (options.given() && !options.from.empty()),
            "gold is missing: the right answer, e.g. \"{answer}\"; kind open has none");
    require(!extract.empty(),
            "extract is missing: how the answer is read, number, letter, yes_no or a regular expression");
    if (!extract.empty()) check("extract", errors, [&] { Extractor{extract}; });
    require(extract != "letter" || options.given(), "options is missing: extract letter asks for one of them");
    require(!options.given() || options.list != OptionList::kNone,
            "options.list is none: the model could not see them");
  }
}

Task load_task(const std::filesystem::path& file) {
  const ConfigValues values = load_config_values(file, {});
  if (!values.contains("kind"))
    throw BadInput(fmt::format("{}: kind is missing: generate, choice, code, open or perplexity", file.string()));
  return read_fields_of<Task>(file, values);
}

std::vector<TaskQuestion> read_questions(const Task& task, const std::filesystem::path& data_root) {
  if (task.kind == TaskKind::kPerplexity)
    throw BadInput(fmt::format("task {} is of kind perplexity, which asks no questions", task.name));
  const FieldText prompt(task.prompt);
  std::vector<TaskQuestion> questions;
  for (TaskRecord& record : read_task_data(data_root, task.data, task.id)) try {
      questions.push_back({std::move(record.id), prompt.fill(record.fields)});
    } catch (const BadInput& error) {
      throw BadInput(fmt::format("{}: {} (the task's prompt)", record.where, error.what()));
    }
  return questions;
}

}  // namespace spt
