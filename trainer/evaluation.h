// `spt eval`: a model measured on tasks (configs/tasks/NAME.yaml), on any dp × tp mesh.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/fields.h"
#include "dist/mesh.h"
#include "trainer/run_config.h"

namespace spt {

struct EvalConfig {
  struct Run {
    std::filesystem::path dir;
    template <class F>
    void fields(F& f) {
      f("dir", dir, "evaluation folder: results.json and samples/");
    }
  };
  struct Model {
    std::filesystem::path path;
    Dtype dtype = Dtype::kAuto;
    template <class F>
    void fields(F& f) {
      f("path", path, "Hugging Face folder, e.g. a checkpoint's hf/");
      f("dtype", dtype, "fp32 or bf16; auto: fp32 on the CPU, bf16 on a GPU");
    }
  };
  struct Eval {
    struct Data {
      std::filesystem::path root = ".";
      template <class F>
      void fields(F& f) {
        f("root", root, "folder below which the tasks' files lie");
      }
    };
    std::vector<std::filesystem::path> tasks;
    Data data;
    template <class F>
    void fields(F& f) {
      f("tasks", tasks, "task files");
      f("data", data, "");
    }
  };

  Run run;
  MeshConfig mesh;
  Model model;
  Eval eval;

  template <class F>
  void fields(F& f) {
    f("run", run, "");
    f("mesh", mesh, "");
    f("model", model, "");
    f("eval", eval, "");
  }
  void validate(std::vector<std::string>& errors) const {
    if (run.dir.empty()) errors.push_back("run.dir is missing: name the folder for the results");
    if (model.path.empty()) errors.push_back("model.path is missing: a Hugging Face folder");
    if (eval.tasks.empty()) errors.push_back("eval.tasks is empty: name at least one task file");
  }
};

// Collective. Writes run.dir: results.json (metric, value, standard error and n of each task) and samples/TASK.jsonl.
// Everything is opened and checked before the model is loaded. Throws BadInput; Failure for a value that is not finite.
void evaluate(const EvalConfig& config, Runtime& runtime);

}  // namespace spt
