#include "data/dataset.h"

#include <algorithm>
#include <limits>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "base/error.h"
#include "data/h5_file.h"

namespace spt {
namespace {

[[noreturn]] void fail(const H5Reader& file, const std::string& message) {
  throw BadInput(fmt::format("{}: {}", file.path().string(), message));
}

[[noreturn]] void fail_damaged(const H5Reader& file, const std::string& what) {
  fail(file, what + ": the corpus is damaged, make it again with spt prepare");
}

CorpusInfo read_info(const H5Reader& file) {
  if (!file.has_attribute("format") || file.text_attribute("format") != kCorpusFormat)
    fail(file, fmt::format("is no corpus (attribute format is not \"{}\"): make one with spt prepare", kCorpusFormat));
  const int64_t version = file.int_attribute("version");
  if (version < 1 || version > kCorpusVersion)
    fail(file,
         fmt::format("is a corpus of version {}, this program reads up to {}: use a newer spt, or prepare it again",
                     version, kCorpusVersion));
  CorpusInfo info;
  info.arm = file.text_attribute("arm");
  if (info.arm != "role" && info.arm != "plain")
    fail_damaged(file, fmt::format("attribute arm is \"{}\", expected role or plain", info.arm));
  info.template_text = file.text_attribute("template");
  info.system = file.text_attribute("system");
  info.role_prefix = file.text_attribute("role_prefix");
  info.tokenizer_sha256 = file.text_attribute("tokenizer_sha256");
  info.source_sha256 = file.text_attribute("source_sha256");
  info.content_sha256 = file.text_attribute("content_sha256");
  info.max_tokens = file.int_attribute("max_tokens");
  info.truncated_examples = file.int_attribute("truncated_examples");
  info.dropped_examples = file.int_attribute("dropped_examples");
  if (info.max_tokens < 1 || info.max_tokens > kMaxExampleTokens)
    fail_damaged(file, fmt::format("attribute max_tokens is {}, expected 1…{}", info.max_tokens, kMaxExampleTokens));
  return info;
}

}  // namespace

int64_t Batch::trained_tokens() const {
  const std::span values(labels.const_data_ptr<int64_t>(), static_cast<size_t>(labels.numel()));
  return std::ranges::count_if(values, [](int64_t label) { return label != kNotTrained; });
}

Dataset::Dataset(const std::filesystem::path& path, int64_t max_tokens) : file_(std::make_unique<H5Reader>(path)) {
  if (max_tokens < 0)
    throw BadInput(fmt::format("{}: max_tokens is {}, expected at least 1", path.string(), max_tokens));
  info_ = read_info(*file_);
  offsets_.resize(static_cast<size_t>(file_->size("offsets")));
  file_->read("offsets", 0, std::span(offsets_));
  check_offsets();
  const int64_t limit = max_tokens > 0 ? max_tokens : info_.max_tokens;
  lengths_.resize(offsets_.size() - 1);
  for (size_t i = 0; i < lengths_.size(); ++i) {
    const int64_t length = offsets_[i + 1] - offsets_[i];
    lengths_[i] = std::min(length, limit);
    trimmed_ += length > limit;
  }
}

Dataset::~Dataset() = default;

void Dataset::check_offsets() const {
  if (offsets_.size() < 2) fail_damaged(*file_, "it holds no example");
  if (offsets_[0] != 0) fail_damaged(*file_, fmt::format("offsets begin with {}, not 0", offsets_[0]));
  for (size_t i = 0; i + 1 < offsets_.size(); ++i) {
    // Compared before it is subtracted: hostile offsets may lie more than 2^63 apart.
    if (offsets_[i + 1] <= offsets_[i] || offsets_[i + 1] - offsets_[i] > info_.max_tokens)
      fail_damaged(*file_, fmt::format("offsets[{}] is {} after {}, expected 1…{} more", i + 1, offsets_[i + 1],
                                       offsets_[i], info_.max_tokens));
  }
  const int64_t examples = static_cast<int64_t>(offsets_.size()) - 1;
  const auto expect = [&](const char* name, int64_t size) {
    if (file_->size(name) != size)
      fail_damaged(*file_, fmt::format("data set {} has {} elements, offsets say {}", name, file_->size(name), size));
  };
  expect("tokens", offsets_.back());
  expect("trained", offsets_.back());
  expect("source", examples);
  expect("id", examples);
}

void Dataset::check_row(int64_t row) const {
  if (row < 0 || row >= size()) fail(*file_, fmt::format("row {} asked for, the corpus has {} (from 0)", row, size()));
}

std::string Dataset::id(int64_t row) const {
  check_row(row);
  return file_->read_texts("id", row, 1)[0];
}

std::string Dataset::source(int64_t row) const {
  check_row(row);
  return file_->read_texts("source", row, 1)[0];
}

void Dataset::require_tokenizer(const std::string& sha256, const std::filesystem::path& model) const {
  if (sha256 != info_.tokenizer_sha256)
    fail(*file_, fmt::format("was made with another tokenizer (SHA-256 {}) than that of {} ({}): prepare it again with "
                             "--tokenizer {}",
                             info_.tokenizer_sha256, model.string(), sha256, model.string()));
}

void Dataset::require_lengths(int64_t max_positions) const {
  const auto longest = std::max_element(lengths_.begin(), lengths_.end());
  if (*longest > max_positions)
    fail(*file_, fmt::format("has examples of {} tokens, the model takes {} (max_position_embeddings): set "
                             "data.max_tokens, or prepare it again with --max-tokens {}",
                             *longest, max_positions, max_positions));
}

Batch Dataset::batch(std::span<const int64_t> rows) const {
  int64_t total = 0;
  for (const int64_t row : rows) {
    check_row(row);
    total += lengths_[static_cast<size_t>(row)];
  }
  if (total > std::numeric_limits<int32_t>::max())
    throw Failure(fmt::format("a batch of {} tokens, the limit is 2^31-1", total));
  Batch batch{at::empty({total}, at::kLong), at::empty({total}, at::kLong),
              at::empty({static_cast<int64_t>(rows.size()) + 1}, at::kInt)};
  int64_t* ids = batch.ids.mutable_data_ptr<int64_t>();
  int64_t* labels = batch.labels.mutable_data_ptr<int64_t>();
  int32_t* starts = batch.starts.mutable_data_ptr<int32_t>();
  std::vector<int32_t> tokens;
  std::vector<uint8_t> trained;
  int64_t at = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    starts[i] = static_cast<int32_t>(at);
    const size_t row = static_cast<size_t>(rows[i]);
    const size_t length = static_cast<size_t>(lengths_[row]);
    tokens.resize(length);
    trained.resize(length);
    file_->read("tokens", offsets_[row], std::span(tokens));
    file_->read("trained", offsets_[row], std::span(trained));
    for (size_t t = 0; t < length; ++t, ++at) {
      if (tokens[t] < 0 || trained[t] > 1)
        fail_damaged(*file_, fmt::format("row {} has token {} with mask {}", row, tokens[t], trained[t]));
      ids[at] = tokens[t];
      labels[at] = t + 1 < length && trained[t + 1] != 0 ? tokens[t + 1] : kNotTrained;
    }
  }
  starts[rows.size()] = static_cast<int32_t>(at);
  return batch;
}

void Dataset::verify() const {
  constexpr int64_t kPart = 256 * kCorpusChunk;
  ContentHash hash;
  const auto numbers = [&]<class T>(const char* name, T) {
    std::vector<T> part;
    const int64_t count = file_->size(name);
    for (int64_t begin = 0; begin < count; begin += kPart) {
      part.resize(static_cast<size_t>(std::min(kPart, count - begin)));
      file_->read(name, begin, std::span(part));
      hash.update(std::span<const T>(part));
    }
  };
  const auto texts = [&](const char* name) {
    for (int64_t begin = 0; begin < size(); begin += kCorpusChunk)
      hash.update(std::span<const std::string>(file_->read_texts(name, begin, std::min(kCorpusChunk, size() - begin))));
  };
  numbers("tokens", int32_t{});
  numbers("trained", uint8_t{});
  numbers("offsets", int64_t{});
  texts("source");
  texts("id");
  if (const std::string found = hash.hex(); found != info_.content_sha256)
    fail_damaged(*file_, fmt::format("content_sha256 is {}, its content has {}", info_.content_sha256, found));
}

}  // namespace spt
