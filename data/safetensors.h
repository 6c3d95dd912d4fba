// Hugging Face weight files: reading by memory map (one file, or shards with an index) and writing front to back.
//
// Format: u64 little-endian header size, JSON header {"name": {"dtype", "shape", "data_offsets": [begin, end]}, …,
// "__metadata__": {…}}, data. https://huggingface.co/docs/safetensors
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace spt {

class SafetensorsReader {
 public:
  // A .safetensors file, or a model folder with model.safetensors or model.safetensors.index.json. Throws BadInput: no
  // weights (and how to convert when only .bin files lie there), a truncated file, a header that is no JSON, larger
  // than 100 MB or the file, offsets outside the data, overlapping or unequal to dtype × shape, an unknown dtype, a
  // shard that the index names and is missing.
  explicit SafetensorsReader(const std::filesystem::path& path);
  ~SafetensorsReader();

  std::vector<std::string> names() const;
  bool has(const std::string& name) const;
  std::vector<int64_t> shape(const std::string& name) const;  // throws BadInput on a name that is not there
  at::ScalarType dtype(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const;  // of a single file
  const std::vector<std::filesystem::path>& files() const;

  // Copies part [begin, end) of `dim` into `out` (whose shape it must be; any float dtype; converted on the way; on the
  // CPU), reading only the bytes of that part. dim -1: the whole tensor.
  void read(const std::string& name, int64_t dim, int64_t begin, int64_t end, const at::Tensor& out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What one file will hold, in order; data is then written tensor by tensor, so that nothing is held in memory.
struct SafetensorsEntry {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;
};

class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<SafetensorsEntry>& entries,
                    const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();                // without commit, the file is removed
  void write(const at::Tensor& next);  // contiguous CPU tensor of the next entry's dtype and shape
  std::string commit();                // sync; the file's SHA-256; throws Failure when an entry was not written
 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spt
