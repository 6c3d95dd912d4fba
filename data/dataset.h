// A corpus.h5 as rows of tokens, read on demand; a corpus in parts opens those that its rows stand in. Opened
// read-only, file locking off. One object is for one thread at a time, but for what is said below.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "data/corpus.h"

namespace spt {

class H5Reader;

// The label of a position that the loss does not ask for.
inline constexpr int64_t kNotTrained = -100;

// Several examples end to end, no padding. With n examples of T tokens in all:
struct Batch {
  at::Tensor ids;     // int64 [T]
  at::Tensor labels;  // int64 [T]: the token that follows at this position if it is trained, else kNotTrained
  at::Tensor starts;  // int32 [n+1]: example i is [starts[i], starts[i+1])

  int64_t trained_tokens() const;  // labels that the loss asks for
};

class Dataset {
 public:
  // `max_tokens` > 0 trims rows again. Throws BadInput naming the file: not HDF5, another format, a newer version, a
  // part of a corpus, missing or inconsistent data sets, a failed checksum of offsets.
  explicit Dataset(const std::filesystem::path& path, int64_t max_tokens = 0);
  ~Dataset();

  int64_t size() const { return static_cast<int64_t>(lengths_.size()); }  // rows
  const std::vector<int64_t>& lengths() const { return lengths_; }        // tokens of each row, after trimming
  int64_t trimmed() const { return trimmed_; }                            // rows that max_tokens made shorter
  const CorpusInfo& info() const { return info_; }
  // These two also while another thread calls `batch`.
  std::string id(int64_t row) const;
  std::string source(int64_t row) const;
  // Throws BadInput unless the corpus was made with the tokenizer whose file has this hash; `model` names it.
  void require_tokenizer(const std::string& sha256, const std::filesystem::path& model) const;
  // Throws BadInput when an example is longer than `max_positions`, the model's limit.
  void require_lengths(int64_t max_positions) const;

  int64_t parts() const { return part_offsets_.empty() ? 1 : static_cast<int64_t>(part_offsets_.size()) - 1; }

  // Reads just these rows. Throws BadInput on a failed checksum, on impossible token ids, and for a part that is
  // missing or another corpus's.
  Batch batch(std::span<const int64_t> rows) const;
  // Reads everything and compares with content_sha256; throws BadInput. For `inspect --verify` and the start of a run.
  void verify() const;

 private:
  // The file with the tokens from `begin` on, and where these begin in it.
  struct Place {
    const H5Reader& file;
    int64_t begin;
  };
  void read_part_offsets();
  Place place_of(int64_t begin) const;
  const H5Reader& open_part(size_t part) const;
  void check_offsets() const;
  void check_row(int64_t row) const;

  std::unique_ptr<H5Reader> file_;
  CorpusInfo info_;
  int64_t version_ = 0;
  std::vector<int64_t> offsets_;                          // [n+1]
  std::vector<int64_t> part_offsets_;                     // [parts+1]; empty: the tokens are in file_
  mutable std::vector<std::unique_ptr<H5Reader>> parts_;  // those opened so far
  std::vector<int64_t> lengths_;                          // [n]
  int64_t trimmed_ = 0;
};

}  // namespace spt
