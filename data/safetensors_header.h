// What stands in front of the data of a .safetensors file, and the index over shards: both are JSON from outside and
// trusted in nothing. Every error is a BadInput naming the file and, where there is one, the tensor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace spt {

constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // bytes, as the reference implementation

struct StoredTensor {
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  size_t begin, end;  // bytes of the file
  size_t file = 0;    // which of the reader's files
};

struct SafetensorsHeader {
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Throws BadInput: "FILE: message".
[[noreturn]] void bad_safetensors(const std::filesystem::path& file, const std::string& message);

// "F32", "BF16", …; throws Failure for a dtype the format (or this program) has no name for.
std::string_view safetensors_dtype_name(at::ScalarType type);

// `bytes` is the whole of `file`. The tensors cover the data without gap or overlap.
SafetensorsHeader parse_safetensors_header(std::string_view bytes, const std::filesystem::path& file);

// Tensor name → file name in the same folder, from the text of model.safetensors.index.json.
std::map<std::string, std::string> parse_safetensors_index(std::string_view text, const std::filesystem::path& index);

}  // namespace spt
