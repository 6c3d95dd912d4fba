#include "data/safetensors.h"

#include <utility>

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/durable.h"
#include "base/error.h"
#include "base/sha256.h"
#include "data/mapped_file.h"
#include "data/safetensors_header.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void no_weights(const fs::path& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".bin" && entry.path().filename().string().starts_with("pytorch_model"))
      bad_safetensors(
          folder,
          fmt::format("has only {}, which is not read; convert it once: python -c \"from transformers import "
                      "AutoModelForCausalLM as M; M.from_pretrained('{}', torch_dtype='auto').save_pretrained('{}', "
                      "safe_serialization=True)\"",
                      entry.path().filename().string(), folder.string(), folder.string()));
  if (error) bad_safetensors(folder, fmt::format("cannot be read: {}", error.message()));
  bad_safetensors(folder, "has no weights: expected model.safetensors, or model.safetensors.index.json and its shards");
}

}  // namespace

struct SafetensorsReader::Impl {
  std::vector<fs::path> files;
  std::vector<MappedFile> mapped;
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> metadata;

  SafetensorsHeader open_file(const fs::path& file) {
    files.push_back(file);
    mapped.emplace_back(file);
    SafetensorsHeader header = parse_safetensors_header(mapped.back().text(), file);
    for (auto& [name, stored] : header.tensors) stored.file = files.size() - 1;
    return header;
  }

  void open_single(const fs::path& file) {
    SafetensorsHeader header = open_file(file);
    tensors = std::move(header.tensors);
    metadata = std::move(header.metadata);
  }

  void open_shards(const fs::path& index) {
    std::map<std::string, SafetensorsHeader> headers;
    for (const auto& [name, shard] : parse_safetensors_index(MappedFile(index).text(), index)) {
      const fs::path file = index.parent_path() / shard;
      if (!headers.contains(shard)) {
        if (std::error_code error; !fs::exists(file, error))
          bad_safetensors(index, fmt::format("names the shard {} (for tensor '{}'), which is missing", shard, name));
        headers[shard] = open_file(file);
      }
      const auto found = headers[shard].tensors.find(name);
      if (found == headers[shard].tensors.end())
        bad_safetensors(file, fmt::format("has no tensor '{}', though {} says so", name, index.filename().string()));
      tensors[name] = found->second;
    }
  }

  const StoredTensor& find(const std::string& name) const {
    const auto found = tensors.find(name);
    if (found != tensors.end()) return found->second;
    bad_safetensors(files.size() == 1 ? files[0] : files[0].parent_path(), fmt::format("has no tensor '{}'", name));
  }
};

SafetensorsReader::SafetensorsReader(const fs::path& path) : impl_(std::make_unique<Impl>()) {
  std::error_code error;
  if (!fs::exists(path, error)) bad_safetensors(path, "does not exist");
  if (!fs::is_directory(path, error)) {
    impl_->open_single(path);
  } else if (fs::exists(path / "model.safetensors", error)) {
    impl_->open_single(path / "model.safetensors");
  } else if (fs::exists(path / "model.safetensors.index.json", error)) {
    impl_->open_shards(path / "model.safetensors.index.json");
  } else {
    no_weights(path);
  }
}

SafetensorsReader::~SafetensorsReader() = default;

std::vector<std::string> SafetensorsReader::names() const {
  std::vector<std::string> names;
  for (const auto& [name, stored] : impl_->tensors) names.push_back(name);
  return names;
}

bool SafetensorsReader::has(const std::string& name) const {
  return impl_->tensors.contains(name);
}
std::vector<int64_t> SafetensorsReader::shape(const std::string& name) const {
  return impl_->find(name).shape;
}
at::ScalarType SafetensorsReader::dtype(const std::string& name) const {
  return impl_->find(name).dtype;
}
const std::map<std::string, std::string>& SafetensorsReader::metadata() const {
  return impl_->metadata;
}
const std::vector<fs::path>& SafetensorsReader::files() const {
  return impl_->files;
}

void SafetensorsReader::read(const std::string& name, int64_t dim, int64_t begin, int64_t end,
                             const at::Tensor& out) const {
  const StoredTensor& stored = impl_->find(name);
  const MappedFile& mapped = impl_->mapped[stored.file];
  const auto fail = [&](const std::string& message) {
    bad_safetensors(impl_->files[stored.file],
                    fmt::format("tensor '{}' of shape [{}] {}", name, fmt::join(stored.shape, ", "), message));
  };
  const bool is_whole = dim == -1;
  std::vector<int64_t> part = stored.shape;
  if (!is_whole) {
    if (dim < 0 || dim >= static_cast<int64_t>(part.size()) || begin < 0 || end < begin || end > part[dim])
      fail(fmt::format("has no part [{}, {}) of dimension {}", begin, end, dim));
    part[dim] = end - begin;
  }
  if (out.sizes() != at::IntArrayRef(part))
    fail(fmt::format("does not fit where [{}] is expected", fmt::join(out.sizes(), ", ")));
  const bool is_convertible = c10::isFloatingType(stored.dtype) && c10::isFloatingType(out.scalar_type());
  if (stored.dtype != out.scalar_type() && !is_convertible)
    fail(fmt::format("is {}, which is not converted to {}", safetensors_dtype_name(stored.dtype),
                     c10::toString(out.scalar_type())));
  if (!out.is_cpu()) throw Failure(fmt::format("reading tensor '{}' into memory that is not the CPU's", name));
  if (out.numel() == 0) return;

  std::byte* data = mapped.bytes() + stored.begin;
  const size_t item = c10::elementSize(stored.dtype);
  if (reinterpret_cast<uintptr_t>(data) % item == 0) {
    const at::Tensor source = at::from_blob(data, stored.shape, stored.dtype);
    out.copy_(is_whole ? source : source.narrow(dim, begin, end - begin));
  } else {
    // A header that is not padded leaves the data unaligned: the part's bytes are copied first.
    int64_t inner = static_cast<int64_t>(item);  // bytes of one index of `dim`
    for (size_t d = is_whole ? 0 : static_cast<size_t>(dim) + 1; d < part.size(); ++d) inner *= part[d];
    const int64_t row = is_whole ? inner : inner * stored.shape[dim];
    const int64_t bytes = static_cast<int64_t>(stored.end - stored.begin);
    at::Tensor rows = at::from_blob(data, {bytes / row, row}, at::kByte);
    if (!is_whole) rows = rows.narrow(1, begin * inner, (end - begin) * inner);
    out.copy_(rows.clone().view({-1}).view(stored.dtype).view(part));
  }
  mapped.give_back(stored.begin, stored.end);
}

struct SafetensorsWriter::Impl {
  Impl(const fs::path& file_path, std::vector<SafetensorsEntry> list)
      : path(file_path), entries(std::move(list)), file(file_path) {}
  fs::path path;
  std::vector<SafetensorsEntry> entries;
  DurableFile file;
  Sha256 hash;
  size_t written = 0;

  void write(const void* bytes, size_t size) {
    hash.update(bytes, size);
    file.write(bytes, size);
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw Failure(fmt::format("{}: {}", path.string(), message));
  }
};

SafetensorsWriter::SafetensorsWriter(const fs::path& path, const std::vector<SafetensorsEntry>& entries,
                                     const std::map<std::string, std::string>& metadata)
    : impl_(std::make_unique<Impl>(path, entries)) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const SafetensorsEntry& entry : entries) {
    const size_t item = c10::elementSize(entry.dtype);
    if (header.contains(entry.name) || entry.name == "__metadata__")
      impl_->fail(fmt::format("'{}' is listed twice", entry.name));
    if (offset % item != 0) impl_->fail(fmt::format("'{}' would be unaligned; list wider dtypes first", entry.name));
    size_t end = item;
    for (const int64_t size : entry.shape) end *= static_cast<size_t>(size);
    end += offset;
    header[entry.name] = {
        {"dtype", safetensors_dtype_name(entry.dtype)}, {"shape", entry.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t size = text.size();
  if (size > kMaxSafetensorsHeader)
    impl_->fail(fmt::format("a header of {} bytes, the limit is {}", size, kMaxSafetensorsHeader));
  impl_->write(&size, sizeof size);
  impl_->write(text.data(), text.size());
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(const at::Tensor& next) {
  if (impl_->written == impl_->entries.size()) impl_->fail("more tensors than were listed");
  const SafetensorsEntry& entry = impl_->entries[impl_->written];
  if (next.scalar_type() != entry.dtype || next.sizes() != at::IntArrayRef(entry.shape) || !next.is_cpu() ||
      !next.is_contiguous())
    impl_->fail(fmt::format("'{}' was listed as {} [{}] on the CPU, contiguous", entry.name,
                            safetensors_dtype_name(entry.dtype), fmt::join(entry.shape, ", ")));
  impl_->write(next.const_data_ptr(), next.nbytes());
  ++impl_->written;
}

std::string SafetensorsWriter::commit() {
  if (impl_->written != impl_->entries.size())
    impl_->fail(fmt::format("'{}' was not written", impl_->entries[impl_->written].name));
  impl_->file.commit();
  return impl_->hash.hex();
}

}  // namespace spt
