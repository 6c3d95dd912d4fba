#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "base/error.h"
#include "data/chat_template.h"
#include "data/safetensors.h"
#include "data/safetensors_header.h"
#include "data/tokenizer.h"
#include "trainer/describe.h"
#include "trainer/hf_folder.h"
#include "trainer/model/causal_lm.h"
#include "trainer/model/pretrained.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int64_t kValuesAtOnce = 1 << 24;  // 64 MB of fp32

// "model.layers.17.mlp.up_proj.weight" → "model.layers.*.mlp.up_proj.weight".
std::string pattern_of(const std::string& name) {
  std::string pattern;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    const bool is_number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    pattern += (begin > 0 ? "." : "") + (is_number ? "*" : part);
    begin = end + 1;
  }
  return pattern;
}

// One row for each pattern, shape and dtype.
ordered_json tensors_of(const SafetensorsReader& weights) {
  std::vector<ordered_json> rows;
  for (const std::string& name : weights.names()) {
    const ordered_json row = {{"name", pattern_of(name)},
                              {"shape", weights.shape(name)},
                              {"dtype", safetensors_dtype_name(weights.dtype(name))},
                              {"count", 1}};
    const auto same = std::find_if(rows.begin(), rows.end(), [&](const ordered_json& other) {
      return other["name"] == row["name"] && other["shape"] == row["shape"] && other["dtype"] == row["dtype"];
    });
    if (same == rows.end())
      rows.push_back(row);
    else
      (*same)["count"] = (*same)["count"].get<int64_t>() + 1;
  }
  return rows;
}

ordered_json dtypes_of(const SafetensorsReader& weights) {
  ordered_json values;
  for (const std::string& name : weights.names()) {
    int64_t numel = 1;
    for (const int64_t size : weights.shape(name)) numel *= size;
    ordered_json& count = values[std::string(safetensors_dtype_name(weights.dtype(name)))];
    count = (count.is_null() ? 0 : count.get<int64_t>()) + numel;
  }
  return values;
}

// Throws BadInput naming the tensor and the place of its first value that is not finite.
void check_finite(const SafetensorsReader& weights, const std::string& name, const fs::path& folder) {
  const std::vector<int64_t> shape = weights.shape(name);
  if (!c10::isFloatingType(weights.dtype(name)) || std::find(shape.begin(), shape.end(), 0) != shape.end()) return;
  std::vector<int64_t> part = shape;
  int64_t row = 1;  // values of one index of dim 0
  for (size_t d = 1; d < shape.size(); ++d) row *= shape[d];
  const int64_t rows = shape.empty() ? 1 : shape[0], at_once = std::max<int64_t>(kValuesAtOnce / row, 1);
  for (int64_t begin = 0; begin < rows; begin += at_once) {
    const int64_t end = std::min(begin + at_once, rows);
    if (!part.empty()) part[0] = end - begin;
    const at::Tensor values = at::empty(part, at::kFloat);
    weights.read(name, shape.empty() ? -1 : 0, begin, end, values);
    const float* data = values.const_data_ptr<float>();
    const float* bad = std::find_if_not(data, data + values.numel(), [](float value) { return std::isfinite(value); });
    if (bad != data + values.numel())
      throw BadInput(
          fmt::format("{}: tensor '{}' has the value {} at its element {}: the weights are damaged, or "
                      "training ran away",
                      folder.string(), name, *bad, begin * row + (bad - data)));
  }
}

ordered_json describe_tokenizer(const fs::path& folder) {
  const auto tokenizer = load_tokenizer(folder);
  const bool is_json = fs::exists(folder / "tokenizer.json");
  return {{"kind", is_json ? "byte-pair encoding (tokenizer.json)" : "SentencePiece (tokenizer.model)"},
          {"tokens", tokenizer->size()},
          {"bos", tokenizer->bos() ? ordered_json(tokenizer->bos_text()) : ordered_json()},
          {"eos", tokenizer->eos_text()},
          {"sha256", tokenizer->sha256()}};
}

bool has_weights(const fs::path& folder) {
  return fs::exists(folder / "model.safetensors") || fs::exists(folder / "model.safetensors.index.json");
}

}  // namespace

ordered_json describe_model(const fs::path& folder, bool verify) {
  const ModelConfig config = load_model_config(folder);
  const CausalLm model(config, 0, 1);
  ordered_json out = {{"path", folder.string()},
                      {"kind", "model"},
                      {"architecture", config.model_type},
                      {"parameters", model.global_parameters()},
                      {"layers", config.layers},
                      {"hidden_size", config.hidden_size},
                      {"intermediate_size", config.intermediate_size},
                      {"heads", config.heads},
                      {"kv_heads", config.kv_heads},
                      {"vocab_size", config.vocab_size},
                      {"max_positions", config.max_positions},
                      {"sliding_window", config.sliding_window ? ordered_json(*config.sliding_window) : ordered_json()},
                      {"tied_embeddings", config.tied_embeddings},
                      {"tokenizer", describe_tokenizer(folder)}};
  if (const auto spt = load_spt_json(folder)) {
    const auto chat_template = ChatTemplate::parse(spt->template_text, (folder / "spt.json").string() + ": template");
    out["spt"] = {{"arm", spt->arm == Arm::kRole ? "role" : "plain"},
                  {"step", spt->step},
                  {"corpus_sha256", spt->corpus_sha256},
                  {"system", chat_template.system()},
                  {"role_prefix", chat_template.role_prefix()},
                  {"template", spt->template_text}};
  }
  if (!has_weights(folder)) {
    if (verify) throw BadInput(fmt::format("{}: --verify reads weights, and there are none here", folder.string()));
    return out;
  }
  const SafetensorsReader weights(folder);
  out["stored_values"] = dtypes_of(weights);
  out["tensors"] = tensors_of(weights);
  if (verify) {
    check_pretrained(model, folder);
    for (const std::string& name : weights.names()) check_finite(weights, name, folder);
    out["verified"] = true;
  }
  return out;
}

}  // namespace spt
