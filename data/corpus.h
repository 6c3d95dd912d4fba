// What a corpus holds, and the writing of it. Reading is data/dataset.h.
//
// HDF5, in its root:
//   /tokens   int32  [T]     token ids, example after example
//   /trained  uint8  [T]     1: the loss asks for this token
//   /offsets  int64  [n+1]   example i is [offsets[i], offsets[i+1]); from 0, rising, offsets[n] = T
//   /source   text   [n]     the record's "source"
//   /id       text   [n]     the record's id, each once
// all in chunks of 4,096 elements, deflate, Fletcher32; texts UTF-8, fixed width, padded with NUL. Attributes of the
// root, in this order:
//   format "spt-corpus"; version 2; arm; template (the YAML); system; role_prefix; tokenizer_sha256; source_sha256 (of
//   the record files' bytes, one after the other); ablation, selection (JSON objects: how this corpus differs from all
//   records as they are, data/ablation.h and data/selection.h); max_tokens; truncated_examples; dropped_examples;
//   content_sha256.
//
// Shards: a corpus NAME.h5 of N parts has no /tokens and /trained but
//   /part_offsets int64 [N+1]  part i holds the tokens [part_offsets[i], part_offsets[i+1]), whole examples
//   /part_sha256  text  [N]    what identifies part i: its attribute part_sha256
// and the files NAME.part-00001-of-0000N.h5 beside it hold /tokens, /trained and the attributes format
// "spt-corpus-part" and part_sha256, the SHA-256 of two lines "NAME SHA-256", of tokens and trained.
//
// content_sha256 is the SHA-256 of one line "NAME SHA-256" for each of tokens, trained, offsets, source, id (of all
// little-endian bytes; texts each followed by one NUL), then one for the value of each attribute before it, numbers as
// decimal text. It is the same for any number of parts.
//
// Version 1 had neither shards nor the attributes ablation and selection; its content_sha256 is of the bytes of tokens,
// trained, offsets, source and id one after the other, attributes left out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/sha256.h"

namespace spt {

class H5Writer;

inline constexpr const char* kCorpusFormat = "spt-corpus";
inline constexpr const char* kCorpusPartFormat = "spt-corpus-part";
inline constexpr int64_t kCorpusVersion = 2;
inline constexpr int64_t kCorpusChunk = 4096;
// No example may be longer: what keeps a damaged or hostile file from asking for absurd amounts of memory.
inline constexpr int64_t kMaxExampleTokens = 1 << 22;
inline constexpr int64_t kMaxCorpusParts = 99'999;

struct CorpusInfo {
  std::string arm;  // "role" or "plain"
  std::string template_text;
  std::string system;
  std::string role_prefix;
  std::string tokenizer_sha256;
  std::string source_sha256;
  std::string ablation = "{}", selection = "{}";
  int64_t max_tokens = 0;
  int64_t truncated_examples = 0;
  int64_t dropped_examples = 0;
  std::string content_sha256;
};

// Calls visit(name, value) for each attribute that content_sha256 covers, in order, after format and version.
template <class Info, class Visit>
void visit_attributes(Info& info, Visit visit) {
  visit("arm", info.arm);
  visit("template", info.template_text);
  visit("system", info.system);
  visit("role_prefix", info.role_prefix);
  visit("tokenizer_sha256", info.tokenizer_sha256);
  visit("source_sha256", info.source_sha256);
  visit("ablation", info.ablation);
  visit("selection", info.selection);
  visit("max_tokens", info.max_tokens);
  visit("truncated_examples", info.truncated_examples);
  visit("dropped_examples", info.dropped_examples);
}

// One line "NAME SHA-256" for each data set named, hashed. Feed every set in order, in as many pieces as you like.
class DataHash {
 public:
  explicit DataHash(const std::vector<std::string>& names);
  template <class T>
  void update(std::string_view name, std::span<const T> values) {
    hash_of(name).update(values.data(), values.size_bytes());
  }
  void update(std::string_view name, std::span<const std::string> texts);
  std::string hex(const std::string& more_lines = "");  // call once, last

 private:
  Sha256& hash_of(std::string_view name);
  std::vector<std::pair<std::string, std::unique_ptr<Sha256>>> hashes_;
};

inline const std::vector<std::string> kPartSets = {"tokens", "trained"};
inline const std::vector<std::string> kCorpusSets = {"tokens", "trained", "offsets", "source", "id"};
// What DataHash::hex takes besides to give content_sha256.
std::string attribute_lines(const CorpusInfo& info);

// NAME.h5, 2, 8 → NAME.part-00003-of-00008.h5: `part` counts from 0.
std::filesystem::path part_path(const std::filesystem::path& corpus, int64_t part, int64_t parts);

// The files of the corpus of that name that are there: itself and parts, also those of another number of parts; with
// ".partial", what a killed writer left of them.
std::vector<std::filesystem::path> corpus_files(const std::filesystem::path& corpus, const std::string& ending = "");

struct CorpusShape {
  int64_t examples = 0;                       // at most so many will be added
  size_t longest_id = 0, longest_source = 0;  // bytes
  int64_t shards = 1;
};

// Writes a corpus example by example, in memory that does not grow with it; under names ending in ".partial" until
// `commit`, or removed. Throws Failure.
class CorpusWriter {
 public:
  CorpusWriter(std::filesystem::path path, const CorpusShape& shape);
  ~CorpusWriter();

  void add(std::span<const int32_t> tokens, std::span<const uint8_t> trained, const std::string& source,
           const std::string& id);
  int64_t examples() const { return examples_; }
  int64_t tokens() const { return tokens_; }

  // Sets info.content_sha256. From here on everything is on the disk, under names that end in .partial.
  void finish(CorpusInfo& info);
  // After `finish`: replaces the files of that name, and removes parts that the corpus of that name had and this one
  // has not.
  void commit();

 private:
  void begin_part();
  void end_part();

  std::filesystem::path path_;
  CorpusShape shape_;
  std::unique_ptr<H5Writer> file_, part_;
  std::vector<std::filesystem::path> parts_;  // those begun; under .partial, synced but for the last
  DataHash hash_{kCorpusSets};
  std::unique_ptr<DataHash> part_hash_;
  int64_t examples_ = 0, tokens_ = 0;
};

}  // namespace spt
