#include "data/dataset.h"

#include <algorithm>
#include <limits>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "base/error.h"
#include "data/h5_file.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const H5Reader& file, const std::string& message) {
  throw BadInput(fmt::format("{}: {}", file.path().string(), message));
}

[[noreturn]] void fail_damaged(const H5Reader& file, const std::string& what) {
  fail(file, what + ": the corpus is damaged, make it again with spt prepare");
}

int64_t read_version(const H5Reader& file) {
  const std::string format = file.has_attribute("format") ? file.text_attribute("format") : "";
  if (format == kCorpusPartFormat)
    fail(file, "is one part of a corpus: name the corpus, the file without .part-… beside it");
  if (format != kCorpusFormat)
    fail(file, fmt::format("is no corpus (attribute format is not \"{}\"): make one with spt prepare", kCorpusFormat));
  const int64_t version = file.int_attribute("version");
  if (version < 1 || version > kCorpusVersion)
    fail(file,
         fmt::format("is a corpus of version {}, this program reads up to {}: use a newer spt, or prepare it again",
                     version, kCorpusVersion));
  return version;
}

CorpusInfo read_info(const H5Reader& file, int64_t version) {
  CorpusInfo info;
  visit_attributes(info, [&](const std::string& name, auto& value) {
    if (version == 1 && (name == "ablation" || name == "selection")) return;
    if constexpr (std::is_same_v<decltype(value), int64_t&>)
      value = file.int_attribute(name);
    else
      value = file.text_attribute(name);
  });
  info.content_sha256 = file.text_attribute("content_sha256");
  if (info.arm != "role" && info.arm != "plain")
    fail_damaged(file, fmt::format("attribute arm is \"{}\", expected role or plain", info.arm));
  if (info.max_tokens < 1 || info.max_tokens > kMaxExampleTokens)
    fail_damaged(file, fmt::format("attribute max_tokens is {}, expected 1…{}", info.max_tokens, kMaxExampleTokens));
  return info;
}

// Calls visit(piece) for the pieces of a data set of numbers, in order.
template <class T, class Visit>
void for_pieces(const H5Reader& file, const char* name, Visit visit) {
  constexpr int64_t kPiece = 256 * kCorpusChunk;
  std::vector<T> piece;
  const int64_t count = file.size(name);
  for (int64_t begin = 0; begin < count; begin += kPiece) {
    piece.resize(static_cast<size_t>(std::min(kPiece, count - begin)));
    file.read(name, begin, std::span(piece));
    visit(std::span<const T>(piece));
  }
}

}  // namespace

int64_t Batch::trained_tokens() const {
  const std::span values(labels.const_data_ptr<int64_t>(), static_cast<size_t>(labels.numel()));
  return std::ranges::count_if(values, [](int64_t label) { return label != kNotTrained; });
}

Dataset::Dataset(const std::filesystem::path& path, int64_t max_tokens) : file_(std::make_unique<H5Reader>(path)) {
  if (max_tokens < 0)
    throw BadInput(fmt::format("{}: max_tokens is {}, expected at least 1", path.string(), max_tokens));
  version_ = read_version(*file_);
  info_ = read_info(*file_, version_);
  read_part_offsets();
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

void Dataset::read_part_offsets() {
  if (version_ == 1 || !file_->has_data_set("part_offsets")) return;
  const int64_t count = file_->size("part_offsets");
  if (count < 2 || count - 1 > kMaxCorpusParts)
    fail_damaged(*file_, fmt::format("part_offsets has {} elements, expected 2…{}", count, kMaxCorpusParts + 1));
  part_offsets_.resize(static_cast<size_t>(count));
  file_->read("part_offsets", 0, std::span(part_offsets_));
  if (part_offsets_[0] != 0 || !std::is_sorted(part_offsets_.begin(), part_offsets_.end()))
    fail_damaged(*file_, "part_offsets must rise from 0");
  parts_.resize(part_offsets_.size() - 1);
}

const H5Reader& Dataset::open_part(size_t part) const {
  if (parts_[part]) return *parts_[part];
  const fs::path path = part_path(file_->path(), static_cast<int64_t>(part), parts());
  std::error_code error;
  if (!fs::exists(path, error))
    fail(*file_, fmt::format("its part {} is missing: keep all {} parts in the corpus's folder under the corpus's name",
                             path.string(), parts()));
  auto opened = std::make_unique<H5Reader>(path);
  const std::string expected = file_->read_texts("part_sha256", static_cast<int64_t>(part), 1)[0];
  const bool is_part = opened->has_attribute("format") && opened->text_attribute("format") == kCorpusPartFormat;
  if (const std::string found = is_part ? opened->text_attribute("part_sha256") : "none"; found != expected)
    fail(*file_, fmt::format("{} is no part of it (part_sha256 is {}, expected {}): a part of another corpus took its "
                             "place; make the corpus again with spt prepare",
                             path.string(), found, expected));
  const int64_t size = part_offsets_[part + 1] - part_offsets_[part];
  for (const char* name : {"tokens", "trained"})
    if (opened->size(name) != size)
      fail_damaged(*opened, fmt::format("data set {} has {} elements, expected {}", name, opened->size(name), size));
  parts_[part] = std::move(opened);
  return *parts_[part];
}

Dataset::Place Dataset::place_of(int64_t begin) const {
  if (part_offsets_.empty()) return {*file_, begin};
  // Parts may be empty: the last that begins at or before it.
  const auto next = std::upper_bound(part_offsets_.begin(), part_offsets_.end() - 1, begin);
  const auto part = static_cast<size_t>(next - part_offsets_.begin()) - 1;
  return {open_part(part), begin - part_offsets_[part]};
}

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
  if (part_offsets_.empty()) {
    expect("tokens", offsets_.back());
    expect("trained", offsets_.back());
  } else {
    expect("part_sha256", parts());
    if (part_offsets_.back() != offsets_.back())
      fail_damaged(*file_,
                   fmt::format("its parts have {} tokens, offsets say {}", part_offsets_.back(), offsets_.back()));
    for (const int64_t begin : part_offsets_)
      if (!std::binary_search(offsets_.begin(), offsets_.end(), begin))
        fail_damaged(*file_, fmt::format("a part begins with token {}, inside an example", begin));
  }
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
    const Place place = place_of(offsets_[row]);
    place.file.read("tokens", place.begin, std::span(tokens));
    place.file.read("trained", place.begin, std::span(trained));
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
  DataHash whole(kCorpusSets);
  Sha256 first_version;
  const auto numbers = [&]<class T>(const H5Reader& file, const char* name, DataHash& hash, T) {
    for_pieces<T>(file, name, [&](std::span<const T> piece) {
      hash.update(name, piece);
      if (version_ == 1) first_version.update(piece.data(), piece.size_bytes());
      if (&hash != &whole) whole.update(name, piece);
    });
  };
  const auto texts = [&](const char* name) {
    for (int64_t begin = 0; begin < size(); begin += kCorpusChunk) {
      const auto piece = file_->read_texts(name, begin, std::min(kCorpusChunk, size() - begin));
      whole.update(name, std::span(piece));
      if (version_ == 1)
        for (const std::string& text : piece) first_version.update(text.c_str(), text.size() + 1);
    }
  };
  if (part_offsets_.empty()) {
    numbers(*file_, "tokens", whole, int32_t{});
    numbers(*file_, "trained", whole, uint8_t{});
  }
  for (size_t part = 0; part < parts_.size(); ++part) {
    const H5Reader& file = open_part(part);
    DataHash hash(kPartSets);
    numbers(file, "tokens", hash, int32_t{});
    numbers(file, "trained", hash, uint8_t{});
    if (const std::string found = hash.hex(); found != file.text_attribute("part_sha256"))
      fail_damaged(file,
                   fmt::format("part_sha256 is {}, its content has {}", file.text_attribute("part_sha256"), found));
  }
  numbers(*file_, "offsets", whole, int64_t{});
  texts("source");
  texts("id");
  const std::string found = version_ == 1 ? first_version.hex() : whole.hex(attribute_lines(info_));
  if (found != info_.content_sha256)
    fail_damaged(*file_, fmt::format("content_sha256 is {}, its content has {}", info_.content_sha256, found));
}

}  // namespace spt
