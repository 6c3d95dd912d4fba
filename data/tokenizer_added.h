// Tokens that a tokenizer has beside its model's vocabulary: special ones ("</s>") and other additions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/tokenizer_pattern.h"

namespace spt {

struct AddedToken {
  std::string text;
  int32_t id = 0;
  bool special = false;      // left out by decode
  bool normalized = false;   // looked for in the normalized text
  bool strips_left = false;  // takes the white space before it
  bool strips_right = false;

  // Runs of spaces or line ends that are no special tokens (GPT-NeoX): ordinary vocabulary in any text. All other added
  // tokens are markup, which only encode_with_special recognises.
  bool is_white_space() const;
};

// An id as it stands in a file; whether a token can have it is the caller's affair. Throws BadInput for what is no
// whole number: nlohmann's `get` would take 2.5 for 2, and is undefined for 1e88.
int64_t token_id(const nlohmann::json& json);

// From an entry of tokenizer.json's `added_tokens`, or of tokenizer_config.json's `added_tokens_decoder` with its key
// as `id`. Throws BadInput for an id out of range, an empty text, or `single_word`.
AddedToken read_added_token(const nlohmann::json& json, int64_t id);

// Cuts text at added tokens: leftmost match first, the longest of several.
class AddedTokenFinder {
 public:
  // `text` is what is looked for, the token's own or its normalized text.
  void add(const AddedToken& token, std::string text);

  struct Section {
    Span span;
    std::optional<int32_t> id;  // none: plain text
  };
  // Sections in order; none is empty. `markup` false: only tokens of white space are found.
  std::vector<Section> split(std::string_view text, bool markup) const;

 private:
  struct Entry {
    std::string text;
    AddedToken token;
  };
  const Entry* match(std::string_view text, bool markup) const;

  std::array<std::vector<Entry>, 256> entries_;  // by first byte, longest first
  bool has_white_space_ = false;                 // some token is found without `markup`
};

}  // namespace spt
