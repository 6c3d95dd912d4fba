// A model folder made ready to answer on the ranks of a job: what `generate` and `annotate --checkpoint` share.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/chat_template.h"
#include "data/tokenizer.h"
#include "dist/mesh.h"
#include "trainer/model/causal_lm.h"
#include "trainer/run_config.h"

namespace spt {

// What of a RunConfig may be given after a command's options.
struct ChatModelConfig {
  MeshConfig mesh;
  struct Model {
    Dtype dtype = Dtype::kAuto;
    template <class F>
    void fields(F& f) {
      f("dtype", dtype, "fp32 or bf16");
    }
  } model;
  TimeLimits run;
  template <class F>
  void fields(F& f) {
    f("mesh", mesh, "");
    f("model", model, "");
    f("run", run, "");
  }
};

// By name or file, else the template in the folder's spt.json; nothing where there is none.
std::optional<ChatTemplate> chat_template_of(const std::filesystem::path& folder, const std::string& name_or_file);

class ChatModel {
 public:
  // Collective. Checks the folder (`option` names it in messages) and its weights' names and shapes, without reading
  // them.
  ChatModel(Runtime& runtime, std::filesystem::path folder, const char* option,
            const std::vector<std::string>& overrides);

  // The folder's spt.json says that it is of the role arm.
  bool writes_roles() const;
  // Collective. Reads the weights: to be called when all else has been checked.
  void load();

  // What comes is done by the ranks of a model together, or by each dp rank for as long as its share takes.
  void watch_computing() const { spt::watch_computing(config_.run); }
  void watch_uneven() const { spt::watch_uneven(config_.run); }

  at::ScalarType dtype() const;
  // The longest prompt that leaves room for an answer, in tokens.
  int64_t max_prompt_tokens() const { return model.config().max_positions - 1; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  ChatModelConfig config_;
  Runtime& runtime_;

 public:
  const std::unique_ptr<Tokenizer> tokenizer;
  Mesh mesh;
  CausalLm model;
};

}  // namespace spt
