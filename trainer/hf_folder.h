// Writing a Hugging Face folder that transformers loads as it is, with spt.json beside the weights.
//
// spt.json: {"format": "spt-model", "version": 1, "arm", "template" (full text), "system", "role_prefix",
// "corpus_sha256", "step"}: what `generate` needs to prompt the model as it was trained.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "data/chat_template.h"
#include "data/dataset.h"
#include "data/tokenizer.h"
#include "dist/mesh.h"
#include "trainer/checkpoint_writer.h"
#include "trainer/model/causal_lm.h"

namespace spt {

struct SptJson {
  Arm arm = Arm::kPlain;
  std::string template_text;
  std::string corpus_sha256;
  int64_t step = 0;
};

// Collective over the tp group of dp rank 0; its tp rank 0 writes, below `folder` ("hf/"), in files of at most
// `file_bytes` but one tensor at least.
inline constexpr int64_t kWeightFileBytes = 5'000'000'000;
void save_weights(CheckpointWriter& writer, const std::string& folder, const CausalLm& model, Communicator& tp,
                  int64_t file_bytes = kWeightFileBytes);
// What that rank writes, or copies to write it in the background: bytes.
int64_t saved_weights_bytes(const CausalLm& model, at::ScalarType dtype);

// The small files of a model folder by name (config.json, the tokenizer's), read once at the start: hours later the
// folder may have changed or gone.
using ModelFiles = std::map<std::string, std::string>;
ModelFiles read_model_files(const std::filesystem::path& folder, const Tokenizer& tokenizer);

// On one rank: config.json, tokenizer files with our chat template, generation_config.json, spt.json. `source`: of the
// folder that the model came from.
void save_model_files(CheckpointWriter& writer, const std::string& folder, const ModelFiles& source,
                      at::ScalarType dtype, const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                      const SptJson& spt);

// nullopt where the folder has none (a model from elsewhere). Throws BadInput when it is broken.
std::optional<SptJson> load_spt_json(const std::filesystem::path& folder);

}  // namespace spt
