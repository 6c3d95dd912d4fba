#include "data/tokenizer.h"

#include <algorithm>
#include <limits>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/read_file.h"
#include "base/sha256.h"
#include "data/json_text.h"
#include "data/tokenizer_json.h"
#include "data/tokenizer_sentencepiece.h"
#include "data/tokenizer_settings.h"
#include "data/utf8.h"

namespace spt {

void Tokenizer::check_text(std::string_view text) {
  // Positions are 32 bits wide, and a byte-level vocabulary writes a byte as up to two.
  constexpr size_t kLimit = std::numeric_limits<int32_t>::max() / 4;
  if (text.size() > kLimit)
    throw BadInput(fmt::format("a text has {} bytes, at most {} can be encoded at once", text.size(), kLimit));
  if (is_utf8(text)) return;
  size_t at = 0;
  while (const size_t length = utf8_length(text.substr(at))) at += length;
  throw BadInput(
      fmt::format("a text is not UTF-8: byte {:#04x} at offset {}", static_cast<unsigned char>(text[at]), at));
}

namespace {

// A vocabulary whose plain words include a special token (reached by merges, or taken whole) would let a record's text
// end a turn.
void refuse_specials_in_text(const Tokenizer& tokenizer, const TokenizerSettings& settings,
                             const std::filesystem::path& path) {
  std::set<std::string> texts{tokenizer.eos_text(), tokenizer.bos_text()};
  for (const auto& [role, text] : settings.names)
    if (role != "unk_token") texts.insert(text);
  for (const std::string& text : texts) {
    const auto id = tokenizer.special(text);
    if (text.empty() || !id) continue;
    const std::vector<int32_t> ids = tokenizer.encode(text, false);
    if (std::ranges::find(ids, *id) != ids.end())
      throw BadInput(
          fmt::format("{}: the special token '{}' is also a word of the plain vocabulary, so a record's text "
                      "could end a turn; such a tokenizer is not supported",
                      path.string(), text));
  }
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  std::error_code unknown;
  if (!std::filesystem::is_directory(folder, unknown))
    throw BadInput(
        fmt::format("{}: there is no such folder; a tokenizer is a folder with tokenizer.json or tokenizer.model",
                    folder.string()));
  const bool has_json = std::filesystem::exists(folder / "tokenizer.json", unknown);
  const std::filesystem::path path = folder / (has_json ? "tokenizer.json" : "tokenizer.model");
  if (!std::filesystem::exists(path, unknown))
    throw BadInput(fmt::format("{}: there is neither tokenizer.json nor tokenizer.model in it", folder.string()));

  const TokenizerSettings settings = read_tokenizer_settings(folder);
  const std::string bytes = read_file(path);
  std::unique_ptr<Tokenizer> tokenizer;
  if (has_json) {
    const nlohmann::json json = parse_json(path, bytes);
    try {
      tokenizer = std::make_unique<JsonTokenizer>(json, settings);
    } catch (const nlohmann::json::exception& error) {
      throw BadInput(fmt::format("{}: is not a tokenizer of Hugging Face: {}", path.string(), json_reason(error)));
    } catch (const BadInput& error) {
      throw BadInput(fmt::format("{}: {}", path.string(), error.what()));
    }
  } else {
    try {
      tokenizer = std::make_unique<SentencePieceTokenizer>(bytes, settings);
    } catch (const BadInput& error) {
      throw BadInput(fmt::format("{}: {}", path.string(), error.what()));
    }
  }
  refuse_specials_in_text(*tokenizer, settings, path);
  tokenizer->sha256_ =
      sha256_hex(fmt::format("{}\nbos {} eos {}\n", bytes, tokenizer->bos().value_or(-1), tokenizer->eos()));
  for (const char* name : {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "vocab.json", "merges.txt"})
    if (std::filesystem::exists(folder / name, unknown)) tokenizer->files_.push_back(folder / name);
  return tokenizer;
}

}  // namespace spt
