// Tokens → text: the `decoder` of tokenizer.json. Known: null, Sequence, Replace, ByteFallback, Fuse, Strip, ByteLevel,
// Metaspace; another kind is refused by name (BadInput). Meaning: the Rust crate `tokenizers` of Hugging Face.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/tokenizer_pattern.h"

namespace spt {

class Decoder {
 public:
  explicit Decoder(const nlohmann::json& json);
  // Without `at_start` the steps that take the dummy prefix's space away are left out.
  std::string apply(std::vector<std::string> tokens, bool at_start) const;

 private:
  struct Replace {
    Pattern pattern;
    std::string by;
  };
  struct ByteFallback {};  // runs of <0x00> … <0xFF> become text; each byte of a run that is not UTF-8 becomes U+FFFD
  struct Fuse {};
  struct Strip {
    std::string character;
    size_t start, stop;  // at most so many, off each token
  };
  struct Bytes {};
  struct Metaspace {
    std::string mark;
    bool prefix;  // the first token loses its marks
  };
  void add(const nlohmann::json& json);
  std::vector<std::variant<Replace, ByteFallback, Fuse, Strip, Bytes, Metaspace>> steps_;
  bool spaced_ = false;  // no decoder at all: tokens with spaces between
};

}  // namespace spt
