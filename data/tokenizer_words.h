// Text → words, before BPE: the `normalizer` and `pre_tokenizer` of tokenizer.json. Known are
//
//   normalizer     null, Sequence, Prepend, Replace
//   pre_tokenizer  null, Sequence, Split, Digits, ByteLevel, Metaspace
//
// and another kind is refused by name (BadInput). Meaning: the Rust crate `tokenizers` of Hugging Face.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/tokenizer_pattern.h"

namespace spt {

// Where a piece of text stands, which decides whether a dummy prefix goes before it.
enum class Place {
  kStart,      // opens the sequence
  kContinued,  // goes on where other text ended: no prefix
  kLater,      // follows a special token or another piece: a prefix where the tokenizer puts one before every piece
};

struct Piece {
  std::string text;
  Place place;
};

class Normalizer {
 public:
  explicit Normalizer(const nlohmann::json& json);
  std::string apply(std::string_view text, Place place) const;

 private:
  struct Prepend {
    std::string text;
  };
  struct Replace {
    Pattern pattern;
    std::string by;
  };
  void add(const nlohmann::json& json);
  std::vector<std::variant<Prepend, Replace>> steps_;
};

class PreTokenizer {
 public:
  explicit PreTokenizer(const nlohmann::json& json);
  std::vector<Piece> apply(Piece piece) const;  // no empty pieces
  // The pieces are bytes, to be written as characters (tokenizer_byte_level.h): a last step, left to the user of them.
  bool gives_bytes() const { return gives_bytes_; }

 private:
  // What happens to a match: a piece of its own, dropped, or joined to a neighbour (Contiguous: to the match before
  // it).
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Split {
    Pattern pattern;
    Behavior behavior;
    bool invert;  // what lies between the matches is the match
  };
  enum class Scheme { kAlways, kFirst, kNever };
  struct Prefix {  // Metaspace's and ByteLevel's
    std::string space;
    Scheme scheme;
  };
  struct Spaces {  // ' ' becomes `mark`
    std::string mark;
  };
  struct Bytes {};  // each byte becomes one printable character
  using Step = std::variant<Split, Prefix, Spaces, Bytes>;

  static Behavior behavior_of(const std::string& name);
  static std::vector<Span> parts_of(const Split& split, std::string_view text);
  void add(const nlohmann::json& json);
  std::vector<Step> steps_;
  bool gives_bytes_ = false;
};

}  // namespace spt
