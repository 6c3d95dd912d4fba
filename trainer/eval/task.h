// A benchmark as a YAML file: configs/tasks/NAME.yaml or the user's own.
//
//   name: held_out
//   kind: perplexity
//   data: {path: records.h5}     # a corpus, below data.root
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace spt {

enum class TaskKind { kPerplexity };
inline std::vector<std::pair<std::string, TaskKind>> enum_names(TaskKind) {
  return {{"perplexity", TaskKind::kPerplexity}};
}

struct Task {
  struct Data {
    std::filesystem::path path;
    template <class F>
    void fields(F& f) {
      f("path", path, "file below data.root");
    }
  };

  std::string name;
  TaskKind kind = TaskKind::kPerplexity;
  Data data;

  template <class F>
  void fields(F& f) {
    f("name", name, "names samples/NAME.jsonl");
    f("kind", kind, "what is measured");
    f("data", data, "");
  }
  void validate(std::vector<std::string>& errors) const;
};

// Throws BadInput naming file and line.
Task load_task(const std::filesystem::path& file);

}  // namespace spt
