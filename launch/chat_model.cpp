#include "launch/chat_model.h"

#include <fmt/format.h>

#include "base/error.h"
#include "data/config_file.h"
#include "trainer/hf_folder.h"
#include "trainer/model/pretrained.h"
#include "trainer/same_view.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Tokenizer> tokenizer_of(const fs::path& folder, const char* option) {
  if (!fs::is_directory(folder))
    throw BadInput(fmt::format("{}: {}: no such folder; give a Hugging Face folder, e.g. a checkpoint's hf/", option,
                               folder.string()));
  if (fs::exists(folder / "progress.json"))
    throw BadInput(fmt::format("{}: {} is a whole checkpoint; its model is {}", option, folder.string(),
                               (folder / "hf").string()));
  if (fs::exists(folder / "checkpoints"))
    throw BadInput(fmt::format("{}: {} is a run; give the model of one of its checkpoints, {}", option, folder.string(),
                               (folder / "checkpoints/step-…/hf").string()));
  return load_tokenizer(folder);
}

}  // namespace

ChatModel::ChatModel(Runtime& runtime, fs::path folder, const char* option, const std::vector<std::string>& overrides)
    : folder_(std::move(folder)),
      config_(read_fields<ChatModelConfig>(parse_overrides(overrides))),
      runtime_(runtime),
      tokenizer(tokenizer_of(folder_, option)),
      mesh(runtime, config_.mesh),
      model(load_model_config(folder_), mesh.place.tp_rank, mesh.tp->size()) {
  watch_files(config_.run);
  check_same_view(runtime, {{"model " + folder_.string(), hash_folder(folder_)}});
  check_vocabulary(model.config(), tokenizer->size(), folder_);
  if (runtime.rank() == 0) check_pretrained(model, folder_);
}

std::optional<ChatTemplate> chat_template_of(const fs::path& folder, const std::string& name_or_file) {
  if (!name_or_file.empty()) return ChatTemplate::load(name_or_file);
  if (const auto spt = load_spt_json(folder))
    return ChatTemplate::parse(spt->template_text, (folder / "spt.json").string() + ": template");
  return std::nullopt;
}

bool ChatModel::writes_roles() const {
  const auto spt = load_spt_json(folder_);
  return spt && spt->arm == Arm::kRole;
}

void ChatModel::load() {
  model.allocate(*mesh.tp, {.parameters = {.dtype = dtype()}});
  watch_files(config_.run);
  load_pretrained(model, folder_);
  watch_computing();
}

at::ScalarType ChatModel::dtype() const {
  return scalar_type(config_.model.dtype, runtime_.device());
}

}  // namespace spt
