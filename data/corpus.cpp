#include "data/corpus.h"

#include <algorithm>
#include <bit>
#include <regex>

#include <fmt/format.h>

#include "base/durable.h"
#include "base/error.h"
#include "data/h5_file.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "files and hashes are of little-endian bytes");

fs::path partial(const fs::path& path) {
  return path.string() + ".partial";
}

std::string text_of(const std::string& text) {
  return text;
}
std::string text_of(int64_t number) {
  return std::to_string(number);
}

}  // namespace

DataHash::DataHash(const std::vector<std::string>& names) {
  for (const std::string& name : names) hashes_.emplace_back(name, std::make_unique<Sha256>());
}

Sha256& DataHash::hash_of(std::string_view name) {
  for (auto& [known, hash] : hashes_)
    if (known == name) return *hash;
  throw Failure(fmt::format("data set {} is not hashed", name));
}

void DataHash::update(std::string_view name, std::span<const std::string> texts) {
  Sha256& hash = hash_of(name);
  for (const std::string& text : texts) hash.update(text.c_str(), text.size() + 1);
}

std::string DataHash::hex(const std::string& more_lines) {
  std::string lines;
  for (auto& [name, hash] : hashes_) lines += fmt::format("{} {}\n", name, hash->hex());
  return sha256_hex(lines + more_lines);
}

std::string attribute_lines(const CorpusInfo& info) {
  std::string lines =
      fmt::format("format {}\nversion {}\n", sha256_hex(kCorpusFormat), sha256_hex(text_of(kCorpusVersion)));
  visit_attributes(info, [&lines](const char* name, const auto& value) {
    lines += fmt::format("{} {}\n", name, sha256_hex(text_of(value)));
  });
  return lines;
}

fs::path part_path(const fs::path& corpus, int64_t part, int64_t parts) {
  fs::path path = corpus;
  return path.replace_filename(
      fmt::format("{}.part-{:05}-of-{:05}{}", corpus.stem().string(), part + 1, parts, corpus.extension().string()));
}

std::vector<fs::path> corpus_files(const fs::path& corpus, const std::string& ending) {
  static const std::regex kNumbers("[0-9]{5}-of-[0-9]{5}");
  std::vector<fs::path> found;
  std::error_code error;
  if (fs::exists(corpus.string() + ending, error)) found.emplace_back(corpus.string() + ending);
  const std::string begin = corpus.stem().string() + ".part-", end = corpus.extension().string() + ending;
  for (const auto& entry :
       fs::directory_iterator(corpus.has_parent_path() ? corpus.parent_path() : fs::path("."), error)) {
    const std::string name = entry.path().filename().string();
    if (name.size() <= begin.size() + end.size() || !name.starts_with(begin) || !name.ends_with(end)) continue;
    const auto middle = name.substr(begin.size(), name.size() - begin.size() - end.size());
    if (std::regex_match(middle, kNumbers)) found.push_back(fs::path(corpus).replace_filename(name));
  }
  std::sort(found.begin(), found.end());
  return found;
}

CorpusWriter::CorpusWriter(fs::path path, const CorpusShape& shape)
    : path_(std::move(path)), shape_(shape), file_(std::make_unique<H5Writer>(partial(path_), kCorpusChunk)) {
  const int64_t begin = 0;
  file_->append("offsets", std::span(&begin, 1));
  hash_.update("offsets", std::span(&begin, 1));
}

CorpusWriter::~CorpusWriter() {
  part_.reset();
  std::error_code ignored;
  for (const fs::path& part : parts_) fs::remove(partial(part), ignored);
  file_.reset();
  fs::remove(partial(path_), ignored);
}

void CorpusWriter::begin_part() {
  const auto number = static_cast<int64_t>(parts_.size());
  parts_.push_back(part_path(path_, number, shape_.shards));
  part_ = std::make_unique<H5Writer>(partial(parts_.back()), kCorpusChunk);
  part_hash_ = std::make_unique<DataHash>(kPartSets);
  file_->append("part_offsets", std::span<const int64_t>(&tokens_, 1));
  part_->append("tokens", std::span<const int32_t>());
  part_->append("trained", std::span<const uint8_t>());
}

void CorpusWriter::end_part() {
  const std::string hash = part_hash_->hex();
  file_->append("part_sha256", hash.size(), std::span(&hash, 1));
  part_->text_attribute("format", kCorpusPartFormat);
  part_->text_attribute("part_sha256", hash);
  part_->commit();
  part_.reset();
}

void CorpusWriter::add(std::span<const int32_t> tokens, std::span<const uint8_t> trained, const std::string& source,
                       const std::string& id) {
  // Part p begins with example p · examples / shards.
  if (shape_.shards > 1 && examples_ * shape_.shards >= static_cast<int64_t>(parts_.size()) * shape_.examples) {
    if (part_) end_part();
    begin_part();
  }
  H5Writer& token_file = part_ ? *part_ : *file_;
  token_file.append("tokens", tokens);
  token_file.append("trained", trained);
  if (part_) {
    part_hash_->update("tokens", tokens);
    part_hash_->update("trained", trained);
  }
  ++examples_;
  tokens_ += static_cast<int64_t>(tokens.size());
  file_->append("offsets", std::span<const int64_t>(&tokens_, 1));
  file_->append("source", shape_.longest_source, std::span(&source, 1));
  file_->append("id", shape_.longest_id, std::span(&id, 1));
  hash_.update("tokens", tokens);
  hash_.update("trained", trained);
  hash_.update("offsets", std::span<const int64_t>(&tokens_, 1));
  hash_.update("source", std::span(&source, 1));
  hash_.update("id", std::span(&id, 1));
}

void CorpusWriter::finish(CorpusInfo& info) {
  // Examples that were dropped may leave the last parts without any.
  while (shape_.shards > 1 && (part_ || static_cast<int64_t>(parts_.size()) < shape_.shards)) {
    if (!part_) begin_part();
    end_part();
  }
  if (shape_.shards > 1) file_->append("part_offsets", std::span<const int64_t>(&tokens_, 1));
  info.content_sha256 = hash_.hex(attribute_lines(info));
  file_->text_attribute("format", kCorpusFormat);
  file_->int_attribute("version", kCorpusVersion);
  visit_attributes(info, [this](const char* name, const auto& value) {
    if constexpr (std::is_same_v<decltype(value), const int64_t&>)
      file_->int_attribute(name, value);
    else
      file_->text_attribute(name, value);
  });
  file_->text_attribute("content_sha256", info.content_sha256);
  file_->commit();
}

void CorpusWriter::commit() {
  for (const fs::path& part : parts_) rename_durable(partial(part), part);
  rename_durable(partial(path_), path_);
  // What the corpus of that name had beside these, and what killed calls left.
  for (const fs::path& file : corpus_files(path_))
    if (file != path_ && std::find(parts_.begin(), parts_.end(), file) == parts_.end()) fs::remove(file);
  for (const fs::path& file : corpus_files(path_, ".partial")) fs::remove(file);
}

}  // namespace spt
