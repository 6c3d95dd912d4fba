// What stands beside the tokenizer itself: tokenizer_config.json, special_tokens_map.json and added_tokens.json.
#pragma once

#include <exception>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/tokenizer_added.h"

namespace spt {

struct TokenizerSettings {
  std::map<std::string, std::string>
      names;                       // "eos_token" → "</s>"; tokenizer_config.json goes before special_tokens_map.json
  std::set<std::string> specials;  // texts of all tokens named there
  std::vector<AddedToken> added;   // added_tokens_decoder, then added_tokens.json
  std::optional<bool> add_bos,
      add_eos;  // as written; transformers takes one that is absent for false when the other is there
};

// Missing files are fine. Throws BadInput, with the file, for one that cannot be read or understood.
TokenizerSettings read_tokenizer_settings(const std::filesystem::path& folder);

// Throws BadInput with the path, line and column when it is not JSON.
nlohmann::json parse_json(const std::filesystem::path& path, const std::string& bytes);

}  // namespace spt
