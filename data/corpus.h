// What a corpus file holds, and the writing of it. Reading is data/dataset.h.
//
// HDF5, in its root:
//   /tokens   int32  [T]     token ids, example after example
//   /trained  uint8  [T]     1: the loss asks for this token
//   /offsets  int64  [n+1]   example i is [offsets[i], offsets[i+1]); from 0, rising, offsets[n] = T
//   /source   text   [n]     the record's "source"
//   /id       text   [n]     the record's id, each once
// all in chunks of 4,096 elements, deflate, Fletcher32; texts UTF-8, fixed width, padded with NUL. Attributes of the
// root:
//   format "spt-corpus"; version 1; arm; template (the YAML); system; role_prefix; tokenizer_sha256; source_sha256 (of
//   the record files' bytes, one after the other); content_sha256; max_tokens; truncated_examples; dropped_examples.
// content_sha256 is the SHA-256 of the little-endian bytes of tokens, trained and offsets, then every source and then
// every id, each followed by one NUL.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/sha256.h"

namespace spt {

inline constexpr const char* kCorpusFormat = "spt-corpus";
inline constexpr int64_t kCorpusVersion = 1;
inline constexpr int64_t kCorpusChunk = 4096;
// No example may be longer: what keeps a damaged or hostile file from asking for absurd amounts of memory.
inline constexpr int64_t kMaxExampleTokens = 1 << 22;

struct CorpusInfo {
  std::string arm;  // "role" or "plain"
  std::string template_text;
  std::string system;
  std::string role_prefix;
  std::string tokenizer_sha256;
  std::string source_sha256;
  std::string content_sha256;
  int64_t max_tokens = 0;
  int64_t truncated_examples = 0;
  int64_t dropped_examples = 0;
};

struct Corpus {
  CorpusInfo info;
  std::vector<int32_t> tokens;
  std::vector<uint8_t> trained;
  std::vector<int64_t> offsets = {0};
  std::vector<std::string> sources, ids;

  int64_t size() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

// Feed these in order, each in as many parts as you like, then ask for hex().
class ContentHash {
 public:
  template <class T>
  void update(std::span<const T> values) {
    hash_.update(values.data(), values.size_bytes());
  }
  void update(std::span<const std::string> texts) {
    for (const std::string& text : texts) hash_.update(text.c_str(), text.size() + 1);
  }
  std::string hex() { return hash_.hex(); }

 private:
  Sha256 hash_;
};

// Writes the file as a whole or not at all; sets info.content_sha256.
void write_corpus(const std::filesystem::path& path, Corpus& corpus);

}  // namespace spt
