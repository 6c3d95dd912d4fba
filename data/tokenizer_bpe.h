// Byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) as tokenizer.json stores it: a vocabulary and a ranked
// list of merges. A word starts as its characters; the adjacent pair of lowest rank, the leftmost of equals, is joined
// until no pair is in the list. The candidates wait in a priority queue over a doubly linked list of symbols and
// out-of-date ones are skipped when they come up: O(n log n) for a word of n characters.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/tokenizer_word_cache.h"

namespace spt {

class Bpe {
 public:
  struct Options {
    std::optional<std::string> unk;  // stands for characters out of the vocabulary; without one they vanish
    bool fuse_unk = false;           // a run of unknown characters becomes one token
    bool byte_fallback = false;  // an unknown character becomes its bytes' tokens <0x00> … <0xFF>, where all are there
    bool ignore_merges = false;  // a word that is in the vocabulary is that token, whatever the merges say
  };
  using Vocabulary = std::vector<std::pair<std::string, int64_t>>;
  using Merges = std::vector<std::pair<std::string, std::string>>;

  // Throws BadInput: an id out of range or given twice, a merge or an unknown token that is out of the vocabulary.
  Bpe(Vocabulary vocabulary, const Merges& merges, const Options& options);
  Bpe(const Bpe&) = delete;  // ids_ points into tokens_

  // Appends the ids of one word, which must be UTF-8. Safe to call from several threads.
  void encode(std::string_view word, std::vector<int32_t>& ids) const;
  // The same for a byte-level vocabulary (tokenizer_byte_level.h), from the word's bytes. One Bpe serves one of the
  // two.
  void encode_bytes(std::string_view word, std::vector<int32_t>& ids) const;

  std::optional<int32_t> id(std::string_view token) const;
  const std::string& token(int32_t id) const { return tokens_.at(static_cast<size_t>(id)); }  // empty: no such token
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }                       // highest id + 1

  static constexpr int64_t kMaxId = (1 << 22) - 1;

 private:
  struct Merge {
    uint64_t pair;  // left id << 32 | right id
    uint32_t rank;
    int32_t joined;
  };
  struct Symbol {
    int32_t id;  // −1: joined into its left neighbour
    int32_t previous, next;
  };

  void add_merge(uint64_t pair, uint32_t rank, int32_t joined);
  const Merge* find_merge(int32_t left, int32_t right) const;
  void merge_word(std::string_view word, std::vector<int32_t>& ids) const;
  std::vector<int32_t> characters(std::string_view word) const;

  std::vector<std::string> tokens_;                    // by id
  std::unordered_map<std::string_view, int32_t> ids_;  // views into tokens_
  std::vector<Merge> merges_;                          // open addressing, a power of two, at most half full
  std::vector<int32_t> byte_ids_;  // of <0x00> … <0xFF>, −1 where missing; empty: no byte fallback
  std::optional<int32_t> unk_;
  bool fuse_unk_, ignore_merges_;
  bool cuts_at_marks_;  // see tokenizer_word_cache.h
  WordCache cache_;
};

}  // namespace spt
