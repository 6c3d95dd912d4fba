// The configuration of `spt eval`.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/fields.h"
#include "dist/mesh.h"
#include "trainer/eval/prompter.h"
#include "trainer/run_config.h"

namespace spt {

struct EvalConfig {
  struct Run : TimeLimits {
    std::filesystem::path dir;
    Run() { collective_timeout_s = 3600; }
    template <class F>
    void fields(F& f) {
      f("dir", dir, "evaluation folder: results.json and samples/");
      TimeLimits::fields(f);
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
    std::vector<std::string> tasks;
    Data data;
    std::optional<int64_t> limit;
    uint64_t seed = 1;
    int64_t shots = 0;
    std::string chat_template;
    int64_t max_new_tokens = 512, conclusion_tokens = 32;
    int64_t batch_sequences = 32;
    std::optional<int64_t> batch_tokens;
    std::string role = "self";
    RoleIn role_in = RoleIn::kAssistant;
    std::filesystem::path roles_from;
    bool deterministic = false;
    bool allow_unsandboxed = false;

    template <class F>
    void fields(F& f) {
      f("tasks", tasks, "names (configs/tasks/NAME.yaml) or files");
      f("data", data, "");
      f("limit", limit, "items a task, a sample by seed with the groups of the whole; not of kind perplexity [all]");
      f("seed", seed, "of the sample");
      f("shots", shots, "worked examples in front of each question, from the task's shots.path");
      f("template", chat_template, "name, file, or none to feed prompts as they are [the model's spt.json, else spt]");
      f("max_new_tokens", max_new_tokens, "of an answer, behind its role");
      f("conclusion_tokens", conclusion_tokens, "behind the task's trigger");
      f("batch_sequences", batch_sequences, "side by side on a data-parallel rank");
      f("batch_tokens", batch_tokens,
        "in their caches, and of a pass over options [a quarter of free memory, of a GPU's half]");
      f("role", role, "self, none, task, generic, other, filler, a text or a file");
      f("role_in", role_in, "where a given role stands: assistant, user or system");
      f("roles_from", roles_from, "for role other and filler: a finished evaluation of the same tasks");
      f("deterministic", deterministic,
        "on CPUs the same bits on any number of dp ranks and threads, in any batch; what it costs is logged");
      f("allow_unsandboxed", allow_unsandboxed,
        "kind code where the kernel forbids the sandbox: the model's code then sees your files");
    }
    void validate(std::vector<std::string>& errors) const {
      const auto positive = [&](const char* key, int64_t value) {
        if (value < 1) errors.push_back(fmt::format("{} is {}, must be at least 1", key, value));
      };
      positive("limit", limit.value_or(1));
      if (role_in != RoleIn::kAssistant && (role == "self" || role == "none"))
        errors.push_back(fmt::format("role_in says where a given role stands, and role={} gives none", role));
      if (shots < 0) errors.push_back(fmt::format("shots is {}, must be at least 0", shots));
      positive("max_new_tokens", max_new_tokens);
      positive("conclusion_tokens", conclusion_tokens);
      positive("batch_sequences", batch_sequences);
      positive("batch_tokens", batch_tokens.value_or(1));
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
    if (mesh.overlap != CommOverlap::kAuto)
      errors.push_back("mesh.overlap is of training: an evaluation has no gradients to reduce");
    if (eval.tasks.empty()) errors.push_back("eval.tasks is empty: name at least one task");
  }
};

}  // namespace spt
