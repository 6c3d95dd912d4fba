#include "trainer/model/model_config.h"

#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/read_file.h"
#include "data/json_text.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kMaxLayers = 10'000;  // more would fill the memory before the weights are looked at

// config.json with its path, so that each complaint names the file.
class ConfigJson {
 public:
  ConfigJson(json value, std::string where) : value_(std::move(value)), where_(std::move(where)) {
    if (!value_.is_object()) throw BadInput(fmt::format("{}: not a JSON object", where_));
  }

  bool has(const char* key) const { return names(key) && !value_.at(key).is_null(); }
  bool names(const char* key) const { return value_.contains(key); }  // also as null

  int64_t positive(const char* key, int64_t limit = int64_t{1} << 31) const {
    const json& found = at(key);
    if (!found.is_number_integer() || found.get<int64_t>() < 1 || found.get<int64_t>() > limit)
      throw BadInput(
          fmt::format("{}: {} is {}, expected a whole number from 1 to {}", where_, key, brief(found), limit));
    return found.get<int64_t>();
  }
  double positive_number(const char* key) const {
    const json& found = at(key);
    if (!found.is_number() || !(found.get<double>() > 0))
      throw BadInput(fmt::format("{}: {} is {}, expected a number above 0", where_, key, brief(found)));
    return found.get<double>();
  }
  std::string text(const char* key) const {
    const json& found = at(key);
    if (!found.is_string()) throw BadInput(fmt::format("{}: {} is {}, expected text", where_, key, brief(found)));
    return found.get<std::string>();
  }
  bool flag(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!at(key).is_boolean())
      throw BadInput(fmt::format("{}: {} is {}, expected true or false", where_, key, brief(at(key))));
    return at(key).get<bool>();
  }
  ConfigJson section(const char* key) const { return ConfigJson(at(key), where_ + ": " + key); }

  // Refuses a value that would change the mathematics.
  void require(const char* key, const json& only) const {
    if (has(key) && at(key) != only)
      throw BadInput(fmt::format("{}: {} is {}; only {} is supported, anything else would change the model's results",
                                 where_, key, brief(at(key)), brief(only)));
  }
  void refuse(const char* key) const {
    if (has(key))
      throw BadInput(fmt::format("{}: {} is set; such a model is not supported, use unquantised weights", where_, key));
  }
  const std::string& where() const { return where_; }

 private:
  const json& at(const char* key) const {
    if (!has(key)) throw BadInput(fmt::format("{}: the key {} is missing", where_, key));
    return value_.at(key);
  }

  json value_;
  std::string where_;
};

// Old configs: rope_theta and rope_scaling side by side. New ones: rope_parameters holds both. As in transformers, a
// theta inside goes before the one beside it.
RopeConfig read_rope(const ConfigJson& config) {
  RopeConfig rope;
  if (config.has("rope_theta")) rope.theta = config.positive_number("rope_theta");
  const bool is_new = config.has("rope_parameters");
  if (is_new && config.has("rope_scaling"))
    throw BadInput(fmt::format("{}: rope_parameters and rope_scaling are both given: keep one", config.where()));
  if (!is_new && !config.has("rope_scaling")) return rope;
  const ConfigJson scaling = config.section(is_new ? "rope_parameters" : "rope_scaling");
  if (scaling.has("rope_theta")) rope.theta = scaling.positive_number("rope_theta");
  scaling.require("partial_rotary_factor", 1.0);
  const char* key = scaling.has("rope_type") ? "rope_type" : "type";
  const std::string kind = is_new && !scaling.has(key) ? "default" : scaling.text(key);
  if (kind == "default") return rope;
  if (kind == "linear") {
    rope.scaling = RopeScaling::kLinear;
    rope.factor = scaling.positive_number("factor");
  } else if (kind == "llama3") {
    rope.scaling = RopeScaling::kLlama3;
    rope.factor = scaling.positive_number("factor");
    rope.low_freq_factor = scaling.positive_number("low_freq_factor");
    rope.high_freq_factor = scaling.positive_number("high_freq_factor");
    rope.original_max_positions = scaling.positive("original_max_position_embeddings");
    config.require("original_max_position_embeddings", rope.original_max_positions);  // would go before the one inside
  } else {
    throw BadInput(
        fmt::format("{}: {} is \"{}\"; supported are default, linear and llama3", scaling.where(), key, kind));
  }
  return rope;
}

// Numbers of bytes and operations are reckoned in 64 bits.
void check_size(const ModelConfig& model, const fs::path& path) {
  constexpr double kMostParameters = 1e13;
  const auto of = [](int64_t n) { return static_cast<double>(n); };
  const double block = of(model.hidden_size) * (of(model.head_dim) * of(2 * model.heads + 2 * model.kv_heads) +
                                                3 * of(model.intermediate_size));
  const double parameters = of(model.layers) * block + 2 * of(model.vocab_size) * of(model.hidden_size);
  if (parameters > kMostParameters)
    throw BadInput(fmt::format("{}: such a model has some {:.2g} parameters, at most {:.0e} are supported",
                               path.string(), parameters, kMostParameters));
}

}  // namespace

ModelConfig load_model_config(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw BadInput(fmt::format("{}: no such folder (model.path)", folder.string()));
  if (!fs::is_regular_file(path, error))
    throw BadInput(fmt::format("{}: cannot be read; model.path must be a Hugging Face folder", path.string()));
  const json parsed = json::parse(read_file(path), unique_keys([&](const std::string& key) {
                                    throw BadInput(fmt::format("{}: has {} twice", path.string(), key));
                                  }),
                                  false);
  if (parsed.is_discarded()) throw BadInput(fmt::format("{}: not valid JSON", path.string()));
  const ConfigJson config(parsed, path.string());

  ModelConfig model;
  model.model_type = config.text("model_type");
  if (model.model_type != "llama" && model.model_type != "mistral")
    throw BadInput(
        fmt::format("{}: model_type is \"{}\"; supported are llama and mistral", path.string(), model.model_type));
  config.refuse("quantization_config");
  config.require("attention_bias", false);
  config.require("mlp_bias", false);
  config.require("hidden_act", "silu");
  config.require("partial_rotary_factor", 1.0);
  config.require("attention_dropout", 0.0);
  model.vocab_size = config.positive("vocab_size");
  model.hidden_size = config.positive("hidden_size");
  model.intermediate_size = config.positive("intermediate_size");
  model.layers = config.positive("num_hidden_layers", kMaxLayers);
  model.heads = config.positive("num_attention_heads");
  // What transformers takes where a key is missing differs by architecture.
  const bool is_mistral = model.model_type == "mistral";
  if (config.has("num_key_value_heads"))
    model.kv_heads = config.positive("num_key_value_heads");
  else
    model.kv_heads = is_mistral && !config.names("num_key_value_heads") ? 8 : model.heads;
  if (model.heads % model.kv_heads != 0)
    throw BadInput(fmt::format("{}: num_attention_heads {} is no multiple of num_key_value_heads {}", path.string(),
                               model.heads, model.kv_heads));
  if (config.has("head_dim")) {
    model.head_dim = config.positive("head_dim");
  } else {
    if (model.hidden_size % model.heads != 0)
      throw BadInput(fmt::format("{}: hidden_size {} is no multiple of num_attention_heads {}", path.string(),
                                 model.hidden_size, model.heads));
    model.head_dim = model.hidden_size / model.heads;
  }
  if (model.head_dim % 2 != 0)
    throw BadInput(
        fmt::format("{}: the head dimension {} is odd; rotary embedding needs pairs", path.string(), model.head_dim));
  model.max_positions = config.positive("max_position_embeddings");
  model.rms_norm_eps = config.positive_number("rms_norm_eps");
  if (config.has("initializer_range")) model.initializer_range = config.positive_number("initializer_range");
  if (is_mistral && config.has("sliding_window"))
    model.sliding_window = config.positive("sliding_window");
  else if (is_mistral && !config.names("sliding_window"))
    model.sliding_window = 4096;
  model.tied_embeddings = config.flag("tie_word_embeddings", false);
  model.rope = read_rope(config);
  check_size(model, path);
  return model;
}

void check_vocabulary(const ModelConfig& config, int64_t tokens, const fs::path& folder) {
  if (tokens > config.vocab_size)
    throw BadInput(fmt::format("{}: the tokenizer has {} tokens, the model {} (vocab_size in config.json)",
                               folder.string(), tokens, config.vocab_size));
}

void check_tensor_parallel(const ModelConfig& config, int tp) {
  const auto fits = [&](int64_t n) {
    const int64_t vocabulary_rows = (config.vocab_size + n - 1) / n;  // of each rank but the last
    return config.heads % n == 0 && config.kv_heads % n == 0 && config.intermediate_size % n == 0 &&
           (n - 1) * vocabulary_rows < config.vocab_size;
  };
  if (fits(tp)) return;
  std::string possible;
  for (int64_t n = 1; n <= config.kv_heads; ++n)
    if (fits(n)) possible += (possible.empty() ? "" : ", ") + std::to_string(n);
  throw BadInput(fmt::format(
      "mesh.tp is {}, but must divide the model's {} heads, {} key/value heads and MLP width {}, and leave every rank "
      "a row of the vocabulary of {}; possible: {}",
      tp, config.heads, config.kv_heads, config.intermediate_size, config.vocab_size, possible));
}

}  // namespace spt
