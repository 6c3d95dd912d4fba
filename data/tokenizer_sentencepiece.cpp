#include "data/tokenizer_sentencepiece.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include "base/error.h"
#include "data/utf8.h"

namespace spt {
namespace {

using sentencepiece::SentencePieceProcessor;

void check(const sentencepiece::util::Status& status, const char* what) {
  if (!status.ok()) throw BadInput(fmt::format("{}: {}", what, status.ToString()));
}

std::unique_ptr<SentencePieceProcessor> load(const std::string& model) {
  auto processor = std::make_unique<SentencePieceProcessor>();
  sentencepiece::util::Status status;
  try {
    status = processor->LoadFromSerializedProto(model);
  } catch (const std::exception& error) {  // of the trie it builds: a piece with a NUL in it
    throw BadInput(fmt::format("is not a SentencePiece model: {}", error.what()));
  }
  check(status, "is not a SentencePiece model");
  return processor;
}

void encode_by(const SentencePieceProcessor& processor, std::string_view text, std::vector<int32_t>& ids) {
  std::vector<int> found;
  check(processor.Encode(text, &found), "SentencePiece cannot encode a text");
  ids.insert(ids.end(), found.begin(), found.end());
}

// One value in protobuf's wire format: a varint, or the bytes of a message or string.
struct Field {
  uint64_t number = 0;
  std::string_view bytes;
};

uint64_t read_varint(std::string_view& wire) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !wire.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(wire.front());
    wire.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

// The last field of that number.
std::optional<Field> find_field(std::string_view wire, uint64_t number) {
  std::optional<Field> found;
  while (!wire.empty()) {
    const uint64_t tag = read_varint(wire);
    Field field;
    uint64_t skip = 0;
    switch (tag & 7) {
      case 0:
        field.number = read_varint(wire);
        break;
      case 1:
        skip = 8;
        break;
      case 2:
        skip = read_varint(wire);
        field.bytes = wire.substr(0, skip);
        break;
      case 5:
        skip = 4;
        break;
      default:
        return std::nullopt;
    }
    wire.remove_prefix(std::min<uint64_t>(skip, wire.size()));
    if (tag >> 3 == number) found = field;
  }
  return found;
}

// Protobuf merges a field that comes twice: normalizer_spec (3) { add_dummy_prefix (3): false }.
constexpr std::string_view kNoDummyPrefix("\x1A\x02\x18\x00", 4);

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(const std::string& model, const TokenizerSettings& settings)
    : opening_(load(model)),
      continuing_(load(model + std::string(kNoDummyPrefix))),
      size_(opening_->GetPieceSize()),
      cuts_at_marks_(may_cut(model)) {
  read_added(settings);
  choose_bos_eos(settings);
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

bool SentencePieceTokenizer::in_model(int32_t id) const {
  return id >= 0 && id < opening_->GetPieceSize();
}

// The normalizer must leave text as it is, but for ' ' → "▁": ModelProto.normalizer_spec (3) without
// precompiled_charsmap (2), with remove_extra_whitespaces (4) off and escape_whitespaces (5) on.
bool SentencePieceTokenizer::may_cut(const std::string& model) const {
  const auto normalizer = find_field(model, 3);
  if (!normalizer) return false;
  const auto map = find_field(normalizer->bytes, 2);
  const auto removes = find_field(normalizer->bytes, 4), escapes = find_field(normalizer->bytes, 5);
  if ((map && !map->bytes.empty()) || !removes || removes->number != 0 || (escapes && escapes->number == 0))
    return false;
  if (opening_->IsUnknown(opening_->PieceToId(kMark))) return false;
  for (int32_t id = 0; id < opening_->GetPieceSize(); ++id)
    if (has_mark_inside(opening_->IdToPiece(id))) return false;
  return true;
}

void SentencePieceTokenizer::read_added(const TokenizerSettings& settings) {
  const auto add = [this](const AddedToken& token) {
    if (in_model(token.id) && opening_->IdToPiece(token.id) != token.text)
      throw BadInput(fmt::format("added token '{}' has the id {}, which is '{}' here", token.text, token.id,
                                 opening_->IdToPiece(token.id)));
    const auto [text, fresh] = added_texts_.emplace(token.id, token.text);
    if (!fresh || !added_.emplace(token.text, token.id).second)
      throw BadInput(fmt::format("added token '{}' or its id {} is given twice", token.text, token.id));
    if (token.special) special_ids_.insert(token.id);
    size_ = std::max<int64_t>(size_, token.id + 1);
    finder_.add(token, token.text);
  };
  for (const AddedToken& token : settings.added) add(token);
  for (int32_t id = 0; id < opening_->GetPieceSize(); ++id) {
    const std::string& text = opening_->IdToPiece(id);
    const bool special = opening_->IsControl(id) || opening_->IsUnknown(id) || settings.specials.contains(text);
    if (special && !added_.contains(text)) add({.text = text, .id = id, .special = true});
    if (!settings.specials.contains(text)) continue;
    std::vector<int32_t> plain;
    encode_by(*continuing_, text, plain);
    if (std::ranges::find(plain, id) != plain.end())
      in_plain_text_.add({.text = text, .id = id, .special = true}, text);
  }
}

void SentencePieceTokenizer::choose_bos_eos(const TokenizerSettings& settings) {
  const auto choose = [&](const char* role, int own) -> std::optional<int32_t> {
    if (const auto name = settings.names.find(role); name != settings.names.end()) {
      if (const auto id = special(name->second)) return id;
      throw BadInput(fmt::format("{} '{}' is not among the tokens", role, name->second));
    }
    return own < 0 ? std::nullopt : std::optional<int32_t>(own);
  };
  const auto eos = choose("eos_token", opening_->eos_id());
  if (!eos) throw BadInput("the model has no eos token; name it in tokenizer_config.json beside this file");
  eos_ = *eos;
  eos_text_ = piece(eos_);
  const auto bos = choose("bos_token", opening_->bos_id());
  if (bos) bos_text_ = piece(*bos);
  if (settings.add_bos.value_or(true) && bos) {
    bos_ = bos;
    before_ = {*bos};
  }
  if (settings.add_eos.value_or(false)) after_ = {eos_};
}

void SentencePieceTokenizer::append(std::string_view text, bool at_start, bool markup,
                                    std::vector<int32_t>& ids) const {
  for (const auto& [span, token] : finder_.split(text, markup)) {
    if (token) {
      ids.push_back(*token);
      continue;
    }
    const std::string_view plain = text.substr(span.begin, span.end - span.begin);
    // A special token that the model finds by itself in plain text is cut after its first character.
    for (const auto& [part, special] : in_plain_text_.split(plain, true)) {
      const std::string_view piece = plain.substr(part.begin, part.end - part.begin);
      const size_t cut = special ? utf8_length(piece) : 0;
      const bool opens = at_start && span.begin == 0 && part.begin == 0;
      append_plain(piece.substr(0, cut), opens, ids);
      append_plain(piece.substr(cut), opens && cut == 0, ids);
    }
  }
}

void SentencePieceTokenizer::append_plain(std::string_view plain, bool opens, std::vector<int32_t>& ids) const {
  if (plain.empty()) return;
  if (!cuts_at_marks_) return encode_by(opens ? *opening_ : *continuing_, plain, ids);
  const auto encode_word = [this](std::string_view word, std::vector<int32_t>& out) {
    encode_by(*continuing_, word, out);
  };
  const std::vector<std::string_view> words = words_by_mark(plain, true);
  if (opens) encode_by(*opening_, words.front(), ids);
  for (size_t i = opens ? 1 : 0; i < words.size(); ++i) cache_.append(words[i], ids, encode_word);
}

std::vector<int32_t> SentencePieceTokenizer::encode(std::string_view text, bool at_start) const {
  check_text(text);
  std::vector<int32_t> ids;
  append(text, at_start, false, ids);
  return ids;
}

std::vector<int32_t> SentencePieceTokenizer::encode_with_special(std::string_view text) const {
  check_text(text);
  std::vector<int32_t> ids = before_;
  append(text, true, true, ids);
  ids.insert(ids.end(), after_.begin(), after_.end());
  return ids;
}

std::string SentencePieceTokenizer::decode(const std::vector<int32_t>& ids, bool at_start) const {
  std::string text;
  std::vector<int> run;  // ids of the model that follow one another
  bool first = at_start;
  const auto flush = [&] {
    if (run.empty()) return;
    std::string part;
    check((first ? *opening_ : *continuing_).Decode(run, &part), "SentencePiece cannot decode");
    text += part;
    first = false;
    run.clear();
  };
  for (const int32_t id : ids) {
    if (special_ids_.contains(id)) continue;
    if (in_model(id)) {
      run.push_back(id);
    } else if (const auto added = added_texts_.find(id); added != added_texts_.end()) {
      flush();
      text += added->second;
      first = false;
    }
  }
  flush();
  return text;
}

std::string SentencePieceTokenizer::piece(int32_t id) const {
  if (const auto added = added_texts_.find(id); added != added_texts_.end()) return added->second;
  return decode({id}, false);
}

std::optional<int32_t> SentencePieceTokenizer::special(std::string_view text) const {
  const auto found = added_.find(std::string(text));
  return found == added_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace spt
