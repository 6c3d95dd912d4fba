#include "trainer/eval/task.h"

#include <fmt/format.h>

#include "base/error.h"
#include "data/config_file.h"
#include "data/field_text.h"

namespace spt {

void Task::validate(std::vector<std::string>& errors) const {
  if (name.empty() || name.find('/') != std::string::npos)
    errors.push_back("name is '" + name + "', must be a word without /");
  if (kind == TaskKind::kPerplexity) return;
  if (prompt.empty()) errors.push_back("prompt is missing: what is asked, e.g. \"{question}\"");
  try {
    FieldText{prompt};
  } catch (const BadInput& error) {
    errors.push_back(fmt::format("prompt has {}", error.what()));
  }
}

Task load_task(const std::filesystem::path& file) {
  return read_fields_of<Task>(file, load_config_values(file, {}));
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
