#include "trainer/hf_folder.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/read_file.h"
#include "trainer/model/pretrained.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kSptJsonVersion = 1;
constexpr const char* kConfig = "config.json";
constexpr const char* kTokenizerConfig = "tokenizer_config.json";

// The checkpoint tensors of one file, in the order of the parameters.
struct WeightFile {
  std::string name;
  std::vector<SafetensorsEntry> entries;
  int64_t bytes = 0;
};

std::vector<WeightFile> plan_files(const CausalLm& model, at::ScalarType dtype, int64_t file_bytes) {
  std::vector<WeightFile> files(1);
  for (const Parameter& parameter : model.parameters().list())
    for (const Shard& shard : parameter.shards) {
      int64_t bytes = static_cast<int64_t>(c10::elementSize(dtype));
      for (const int64_t size : shard.global) bytes *= size;
      if (files.back().bytes > 0 && files.back().bytes + bytes > file_bytes) files.emplace_back();
      files.back().entries.push_back({shard.name, dtype, shard.global});
      files.back().bytes += bytes;
    }
  for (size_t i = 0; i < files.size(); ++i)
    files[i].name =
        files.size() == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, files.size());
  return files;
}

void write_index(CheckpointWriter& writer, const std::string& folder, const std::vector<WeightFile>& files) {
  json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", json::object()}};
  int64_t total = 0;
  for (const WeightFile& file : files) {
    total += file.bytes;
    for (const SafetensorsEntry& entry : file.entries) index["weight_map"][entry.name] = file.name;
  }
  index["metadata"]["total_size"] = total;
  writer.write(folder + "model.safetensors.index.json", index.dump(2) + "\n");
}

json parse_object(const std::string& text, const fs::path& path) {
  json value = json::parse(text, nullptr, false);
  if (!value.is_object()) throw BadInput(fmt::format("{}: not a JSON object", path.string()));
  return value;
}

}  // namespace

void save_weights(CheckpointWriter& writer, const std::string& folder, const CausalLm& model, Communicator& tp,
                  int64_t file_bytes) {
  const at::ScalarType dtype = model.parameters().values().scalar_type();
  const std::vector<WeightFile> files = plan_files(model, dtype, file_bytes);
  auto file = files.begin();
  size_t written = 0;  // of this file's tensors
  for (const Parameter& parameter : model.parameters().list())
    for (size_t i = 0; i < parameter.shards.size(); ++i) {
      at::Tensor whole = gather_shard(parameter.part(i, parameter.value.detach()), parameter.shards[i], tp);
      if (tp.rank() != 0) continue;
      if (written == 0) writer.begin(folder + file->name, file->entries, {{"format", "pt"}});
      writer.write(std::move(whole));
      if (++written < file->entries.size()) continue;
      written = 0;
      ++file;
    }
  if (tp.rank() == 0 && files.size() > 1) write_index(writer, folder, files);
}

int64_t saved_weights_bytes(const CausalLm& model, at::ScalarType dtype) {
  return model.global_parameters() * static_cast<int64_t>(c10::elementSize(dtype));
}

ModelFiles read_model_files(const fs::path& folder, const Tokenizer& tokenizer) {
  ModelFiles files{{kConfig, read_file(folder / kConfig)}};
  for (const fs::path& file : tokenizer.files()) files[file.filename().string()] = read_file(file);
  for (const char* name : {kConfig, kTokenizerConfig})
    if (files.contains(name)) parse_object(files[name], folder / name);
  return files;
}

void save_model_files(CheckpointWriter& writer, const std::string& folder, const ModelFiles& source,
                      at::ScalarType dtype, const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                      const SptJson& spt) {
  const auto write_json = [&](const std::string& name, const json& value) {
    writer.write(folder + name, value.dump(2) + "\n");
  };
  json config = json::parse(source.at(kConfig));
  // Newer transformers write "dtype", older read "torch_dtype".
  config.erase("dtype");
  config["torch_dtype"] = dtype == at::kFloat ? "float32" : "bfloat16";
  config["architectures"] = {config.at("model_type") == "mistral" ? "MistralForCausalLM" : "LlamaForCausalLM"};
  config["eos_token_id"] = tokenizer.eos();
  write_json(kConfig, config);

  json generation = {{"eos_token_id", tokenizer.eos()}, {"pad_token_id", tokenizer.eos()}};
  if (tokenizer.bos()) generation["bos_token_id"] = *tokenizer.bos();
  write_json("generation_config.json", generation);

  for (const auto& [name, bytes] : source)
    if (name != kConfig && name != kTokenizerConfig) writer.write(folder + name, bytes);
  json settings = source.contains(kTokenizerConfig)
                      ? json::parse(source.at(kTokenizerConfig))
                      : json{{"tokenizer_class", "LlamaTokenizer"}, {"bos_token", tokenizer.bos_text()}};
  // Classes of transformers 5 rebuild parts of tokenizer.json. Llama's makes of a "▁" put in front what the corpus has;
  // others lose what it has (GPT2Tokenizer drops a digit splitter), and PreTrainedTokenizerFast takes the file as it
  // is.
  const std::string tokenizer_class = settings.value("tokenizer_class", "");
  if (source.contains("tokenizer.json") && tokenizer_class != "LlamaTokenizer" &&
      tokenizer_class != "LlamaTokenizerFast")
    settings["tokenizer_class"] = "PreTrainedTokenizerFast";
  settings["eos_token"] = tokenizer.eos_text();
  settings["chat_template"] = chat_template.jinja(tokenizer);
  write_json(kTokenizerConfig, settings);

  write_json("spt.json", {{"format", "spt-model"},
                          {"version", kSptJsonVersion},
                          {"arm", spt.arm == Arm::kRole ? "role" : "plain"},
                          {"template", spt.template_text},
                          {"system", chat_template.system()},
                          {"role_prefix", chat_template.role_prefix()},
                          {"corpus_sha256", spt.corpus_sha256},
                          {"step", spt.step}});
}

std::optional<SptJson> load_spt_json(const fs::path& folder) {
  const fs::path path = folder / "spt.json";
  if (!fs::exists(path)) return std::nullopt;
  const json value = parse_object(read_file(path), path);
  const auto require = [&](const char* key, json::value_t type, const char* expected) -> const json& {
    if (!value.contains(key)) throw BadInput(fmt::format("{}: the key {} is missing", path.string(), key));
    if (value[key].type() != type)
      throw BadInput(fmt::format("{}: {} is {}, expected {}", path.string(), key, value[key].dump(), expected));
    return value[key];
  };
  const auto text = [&](const char* key) { return require(key, json::value_t::string, "text").get<std::string>(); };
  const auto number = [&](const char* key) {
    return require(key, json::value_t::number_unsigned, "a whole number from 0").get<int64_t>();
  };
  if (text("format") != "spt-model")
    throw BadInput(fmt::format(R"({}: format is "{}", expected "spt-model")", path.string(), text("format")));
  if (number("version") > kSptJsonVersion)
    throw BadInput(fmt::format("{}: version {} is newer than this program knows ({})", path.string(), number("version"),
                               kSptJsonVersion));
  const std::string arm = text("arm");
  if (arm != "role" && arm != "plain")
    throw BadInput(fmt::format("{}: arm is \"{}\", expected role or plain", path.string(), arm));
  return SptJson{arm == "role" ? Arm::kRole : Arm::kPlain, text("template"), text("corpus_sha256"), number("step")};
}

}  // namespace spt
