#include "trainer/eval/task.h"

#include "data/config_file.h"

namespace spt {

void Task::validate(std::vector<std::string>& errors) const {
  if (name.empty() || name.find('/') != std::string::npos)
    errors.push_back("name is '" + name + "', must be a word without /");
  if (data.path.empty()) errors.push_back("data.path is missing");
}

Task load_task(const std::filesystem::path& file) {
  return read_fields<Task>(load_config_values(file, {}));
}

}  // namespace spt
