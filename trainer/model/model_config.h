// The architecture, as a Hugging Face folder's config.json states it: Llama and Mistral.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace spt {

enum class RopeScaling { kNone, kLinear, kLlama3 };

// Rotary position embedding (Su et al., arXiv 2104.09864). Linear scaling divides positions by `factor`; llama3 scales
// frequencies by wavelength (Llama 3.1).
struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_positions = 8192;

  bool operator==(const RopeConfig&) const = default;
};

struct ModelConfig {
  std::string model_type;  // "llama" or "mistral"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  std::optional<int64_t> sliding_window;  // query i sees key j if i − j < window
  bool tied_embeddings = false;
  RopeConfig rope;

  bool operator==(const ModelConfig&) const = default;
};

// Throws BadInput naming the file, the key and its value: no config.json, a missing key, another architecture, and
// everything that would change the mathematics (biases, another activation, quantisation, an unknown rope type).
ModelConfig load_model_config(const std::filesystem::path& folder);

// Throws BadInput where the tokenizer of `folder` has more tokens than the model has embeddings.
void check_vocabulary(const ModelConfig& config, int64_t tokens, const std::filesystem::path& folder);

// Throws BadInput with the values of tp that the model allows unless tp divides heads, key/value heads and the MLP's
// width, and every rank gets a row of the vocabulary (cut into runs of ceil(vocab_size / tp)).
void check_tensor_parallel(const ModelConfig& config, int tp);

}  // namespace spt
