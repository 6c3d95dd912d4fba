#include "data/tokenizer_json.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/json_text.h"

namespace spt {
namespace {

using Json = nlohmann::json;

const Json& part(const Json& json, const char* key) {
  static const Json kNone;
  const auto found = json.find(key);
  return found == json.end() ? kNone : *found;
}

std::string text_or_empty(const Json& json, const char* key) {
  const Json& value = part(json, key);
  return value.is_null() ? "" : value.get<std::string>();
}

// "a b" (older files) or ["a", "b"].
std::pair<std::string, std::string> read_merge(const Json& merge) {
  if (merge.is_array() && merge.size() == 2) return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  if (merge.is_string()) {
    const std::string& pair = merge.get_ref<const std::string&>();
    const size_t space = pair.find(' ');
    if (space != std::string::npos && pair.find(' ', space + 1) == std::string::npos)
      return {pair.substr(0, space), pair.substr(space + 1)};
  }
  throw BadInput(fmt::format("merge {} is not two tokens", brief(merge)));
}

Bpe read_bpe(const Json& model) {
  if (!model.is_object()) throw BadInput("there is no model");
  const std::string kind = model.contains("type") ? kind_of(model) : "BPE";  // the oldest files leave it out
  if (kind != "BPE") refuse_kind("model", kind, "BPE");
  for (const char* option : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!text_or_empty(model, option).empty())
      throw BadInput(fmt::format("model: {} '{}' is not supported", option, text_or_empty(model, option)));
  if (const Json& dropout = part(model, "dropout"); !dropout.is_null() && dropout.get<double>() != 0)
    throw BadInput(fmt::format("model: dropout {} is not supported", brief(dropout)));

  Bpe::Options options;
  if (!part(model, "unk_token").is_null()) options.unk = model.at("unk_token").get<std::string>();
  options.fuse_unk = model.value("fuse_unk", false);
  options.byte_fallback = model.value("byte_fallback", false);
  options.ignore_merges = model.value("ignore_merges", false);
  Bpe::Vocabulary vocabulary;
  for (const auto& [token, id] : model.at("vocab").items()) vocabulary.emplace_back(token, token_id(id));
  Bpe::Merges merges;
  for (const Json& merge : model.at("merges")) merges.push_back(read_merge(merge));
  return {std::move(vocabulary), merges, options};
}

}  // namespace

JsonTokenizer::JsonTokenizer(const Json& json, const TokenizerSettings& settings)
    : bpe_(read_bpe(part(json, "model"))),
      normalizer_(part(json, "normalizer")),
      pre_tokenizer_(part(json, "pre_tokenizer")),
      decoder_(part(json, "decoder")),
      size_(bpe_.size()) {
  read_added(part(json, "added_tokens"), settings);
  read_post_processor(part(json, "post_processor"));
  choose_bos_eos(settings);
}

void JsonTokenizer::add_token(AddedToken token) {
  const auto in_vocabulary = bpe_.id(token.text);
  const bool id_taken = !in_vocabulary && token.id < bpe_.size() && !bpe_.token(token.id).empty();
  if ((in_vocabulary && *in_vocabulary != token.id) || id_taken)
    throw BadInput(
        fmt::format("added token '{}' has the id {}, but the vocabulary says otherwise", token.text, token.id));
  const auto [text, fresh] = added_texts_.emplace(token.id, token.text);
  if (!fresh || added_.contains(token.text))
    throw BadInput(fmt::format("added token '{}' or its id {} is given twice", token.text, token.id));
  size_ = std::max<int64_t>(size_, token.id + 1);
  if (token.special) special_ids_.insert(token.id);
  if (const std::string wanted = token.normalized ? normalizer_.apply(token.text, Place::kStart) : token.text;
      !wanted.empty())
    (token.normalized ? normalized_finder_ : finder_).add(token, wanted);
  added_.emplace(token.text, std::move(token));
}

void JsonTokenizer::read_added(const Json& json, const TokenizerSettings& settings) {
  for (const Json& entry : json) {
    AddedToken token = read_added_token(entry, token_id(entry.at("id")));
    token.special = token.special || settings.specials.contains(token.text);
    add_token(std::move(token));
  }
  // A token of the plain vocabulary that the settings name is special too.
  for (const std::string& text : settings.specials)
    if (const auto id = bpe_.id(text); id && !added_.contains(text))
      add_token({.text = text, .id = *id, .special = true});
}

void JsonTokenizer::read_post_processor(const Json& json) {
  if (json.is_null()) return;
  const std::string kind = kind_of(json);
  if (kind == "Sequence") {
    for (const Json& step : json.at("processors")) read_post_processor(step);
  } else if (kind == "TemplateProcessing") {
    read_template(json);
  } else if (kind != "ByteLevel") {  // that one changes offsets only
    refuse_kind("post_processor", kind, "Sequence, TemplateProcessing, ByteLevel");
  }
}

void JsonTokenizer::read_template(const Json& json) {
  bool text_seen = false;
  for (const Json& item : json.at("single")) {
    if (item.contains("Sequence")) {
      text_seen = true;
      continue;
    }
    const std::string name = item.at("SpecialToken").at("id");
    for (const Json& id : json.at("special_tokens").at(name).at("ids")) {
      const int64_t number = token_id(id);
      if (number < 0 || number >= size_ || text_of(static_cast<int32_t>(number)).empty())
        throw BadInput(fmt::format("post_processor: token '{}' has the id {}, which is no token", name, number));
      (text_seen ? after_ : before_).push_back(static_cast<int32_t>(number));
    }
  }
  if (!text_seen) throw BadInput("post_processor TemplateProcessing: 'single' has no Sequence");
}

void JsonTokenizer::choose_bos_eos(const TokenizerSettings& settings) {
  const auto named = [&](const char* role) -> std::optional<int32_t> {
    const auto name = settings.names.find(role);
    if (name == settings.names.end()) return std::nullopt;
    if (const auto id = special(name->second)) return id;
    throw BadInput(fmt::format("{} '{}' is not among the tokens", role, name->second));
  };
  const auto eos = named("eos_token");
  if (!eos)
    throw BadInput("no eos_token; name it in tokenizer_config.json or special_tokens_map.json beside this file");
  eos_ = *eos;
  const auto bos = named("bos_token");
  if (settings.add_bos || settings.add_eos) {  // these override the file's post_processor
    before_.clear();
    after_.clear();
    if (settings.add_bos.value_or(false)) {
      if (!bos) throw BadInput("add_bos_token is true, but tokenizer_config.json names no bos_token");
      before_ = {*bos};
    }
    if (settings.add_eos.value_or(false)) after_ = {eos_};
  }
  if (before_.size() > 1)
    throw BadInput(fmt::format("post_processor puts {} tokens in front; one is supported", before_.size()));
  if (!before_.empty()) bos_ = before_[0];
  eos_text_ = text_of(eos_);
  if (const auto shown = bos_ ? bos_ : bos) bos_text_ = text_of(*shown);
}

void JsonTokenizer::append(std::string_view text, Place place, bool markup, std::vector<int32_t>& ids) const {
  for (const auto& [span, token] : finder_.split(text, markup)) {
    if (token) {
      ids.push_back(*token);
      continue;
    }
    const Place here = span.begin == 0 ? place : Place::kLater;
    const std::string normalized = normalizer_.apply(text.substr(span.begin, span.end - span.begin), here);
    for (const auto& [part_span, part_token] : normalized_finder_.split(normalized, markup)) {
      if (part_token) {
        ids.push_back(*part_token);
        continue;
      }
      const Place there = part_span.begin == 0 ? here : Place::kLater;
      for (const Piece& word :
           pre_tokenizer_.apply({normalized.substr(part_span.begin, part_span.end - part_span.begin), there}))
        pre_tokenizer_.gives_bytes() ? bpe_.encode_bytes(word.text, ids) : bpe_.encode(word.text, ids);
    }
  }
}

std::vector<int32_t> JsonTokenizer::encode(std::string_view text, bool at_start) const {
  check_text(text);
  std::vector<int32_t> ids;
  append(text, at_start ? Place::kStart : Place::kContinued, false, ids);
  return ids;
}

std::vector<int32_t> JsonTokenizer::encode_with_special(std::string_view text) const {
  check_text(text);
  std::vector<int32_t> ids = before_;
  append(text, Place::kStart, true, ids);
  ids.insert(ids.end(), after_.begin(), after_.end());
  return ids;
}

std::string JsonTokenizer::text_of(int32_t id) const {
  if (const auto added = added_texts_.find(id); added != added_texts_.end()) return added->second;
  return id >= 0 && id < bpe_.size() ? bpe_.token(id) : "";
}

std::string JsonTokenizer::decode(const std::vector<int32_t>& ids, bool at_start) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    if (special_ids_.contains(id)) continue;
    if (std::string token = text_of(id); !token.empty()) tokens.push_back(std::move(token));
  }
  return decoder_.apply(std::move(tokens), at_start);
}

std::string JsonTokenizer::piece(int32_t id) const {
  if (const auto added = added_texts_.find(id); added != added_texts_.end()) return added->second;
  return decoder_.apply({text_of(id)}, false);
}

std::optional<int32_t> JsonTokenizer::special(std::string_view text) const {
  const auto found = added_.find(std::string(text));
  return found == added_.end() ? std::nullopt : std::optional(found->second.id);
}

}  // namespace spt
