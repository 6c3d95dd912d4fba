// Writing a Hugging Face folder that transformers loads as it is, with spt.json beside the weights.
//
// spt.json: {"format": "spt-model", "version": 1, "arm", "template" (full text), "system", "role_prefix",
// "corpus_sha256", "step"}: what `generate` needs to prompt the model as it was trained.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "data/chat_template.h"
#include "data/dataset.h"
#include "data/tokenizer.h"
#include "dist/mesh.h"
#include "trainer/model/causal_lm.h"

namespace spt {

struct SptJson {
  Arm arm = Arm::kPlain;
  std::string template_text;
  std::string corpus_sha256;
  int64_t step = 0;
};

// Collective over the tp group of dp rank 0; its tp rank 0 writes (shards of at most 5 GB). `source` is the folder
// whose config.json the model came from.
void save_weights(const std::filesystem::path& folder, const CausalLm& model, Communicator& tp);
// On one rank: config.json, tokenizer files with our chat template, generation_config.json, spt.json.
void save_model_files(const std::filesystem::path& folder, const std::filesystem::path& source, at::ScalarType dtype,
                      const Tokenizer& tokenizer, const ChatTemplate& chat_template, const SptJson& spt);

// nullopt where the folder has none (a model from elsewhere). Throws BadInput when it is broken.
std::optional<SptJson> load_spt_json(const std::filesystem::path& folder);

}  // namespace spt
