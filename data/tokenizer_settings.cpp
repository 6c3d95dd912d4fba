#include "data/tokenizer_settings.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/read_file.h"
#include "data/json_text.h"

namespace spt {
namespace {

using Json = nlohmann::json;

Json read_object(const std::filesystem::path& path) {
  if (std::error_code unknown; !std::filesystem::exists(path, unknown)) return Json::object();
  Json json = parse_json(path, read_file(path));
  if (!json.is_object()) throw BadInput("is not a JSON object");
  return json;
}

// A token is written as its text or as an object with `content`; null means none.
std::optional<std::string> text_of(const Json& token) {
  if (token.is_null()) return std::nullopt;
  return (token.is_object() ? token.at("content") : token).get<std::string>();
}

int64_t whole_number(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw BadInput(fmt::format("added_tokens_decoder: '{}' is not a token id", text));
  return value;
}

void read_names(const Json& json, TokenizerSettings& settings) {
  for (const char* role :
       {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}) {
    if (!json.contains(role)) continue;
    if (const auto text = text_of(json.at(role))) settings.names.emplace(role, *text);
  }
  for (const char* list : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!json.contains(list)) continue;
    for (const Json& token : json.at(list))
      if (const auto text = text_of(token)) settings.specials.insert(*text);
  }
}

std::optional<bool> read_flag(const Json& json, const char* key) {
  if (!json.contains(key) || json.at(key).is_null()) return std::nullopt;
  return json.at(key).get<bool>();
}

void read_config(const Json& json, TokenizerSettings& settings) {
  read_names(json, settings);
  settings.add_bos = read_flag(json, "add_bos_token");
  settings.add_eos = read_flag(json, "add_eos_token");
  if (!json.contains("added_tokens_decoder")) return;
  for (const auto& [id, token] : json.at("added_tokens_decoder").items())
    settings.added.push_back(read_added_token(token, whole_number(id)));
}

void read_added_tokens(const Json& json, TokenizerSettings& settings) {
  for (const auto& item : json.items()) {
    const bool known = std::ranges::any_of(settings.added, [&](const AddedToken& t) { return t.text == item.key(); });
    if (!known) settings.added.push_back(read_added_token({{"content", item.key()}}, token_id(item.value())));
  }
}

template <class F>
void read_file(const std::filesystem::path& path, F read) {
  try {
    read(read_object(path));
  } catch (const Json::exception& error) {
    throw BadInput(fmt::format("{}: {}", path.string(), json_reason(error)));
  } catch (const BadInput& error) {
    const std::string message = error.what();
    throw BadInput(message.starts_with(path.string()) ? message : fmt::format("{}: {}", path.string(), message));
  }
}

}  // namespace

Json parse_json(const std::filesystem::path& path, const std::string& bytes) {
  try {
    return Json::parse(bytes);
  } catch (const Json::exception& error) {
    throw BadInput(fmt::format("{}: is not valid JSON: {}", path.string(), json_reason(error)));
  }
}

TokenizerSettings read_tokenizer_settings(const std::filesystem::path& folder) {
  TokenizerSettings settings;
  read_file(folder / "tokenizer_config.json", [&](const Json& json) { read_config(json, settings); });
  read_file(folder / "special_tokens_map.json", [&](const Json& json) { read_names(json, settings); });
  read_file(folder / "added_tokens.json", [&](const Json& json) { read_added_tokens(json, settings); });
  for (const auto& [role, text] : settings.names) settings.specials.insert(text);
  for (AddedToken& token : settings.added) token.special = token.special || settings.specials.contains(token.text);
  return settings;
}

}  // namespace spt
