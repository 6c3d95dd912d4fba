#include "data/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/json_text.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Dtype {
  std::string_view name;
  at::ScalarType type;
};
constexpr Dtype kDtypes[] = {{"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16},
                             {"I64", at::kLong},   {"I32", at::kInt},   {"I16", at::kShort}, {"I8", at::kChar},
                             {"U8", at::kByte},    {"BOOL", at::kBool}};

// JSON without duplicate keys and without the nesting that no such file has.
json parse_flat_json(std::string_view text, const fs::path& file, const char* what) {
  auto once = unique_keys(
      [&](const std::string& key) { bad_safetensors(file, fmt::format("the {} names '{}' twice", what, key)); });
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    const bool opens = event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth > 2) bad_safetensors(file, fmt::format("the {} is nested deeper than any such file", what));
    return once(depth, event, parsed);
  };
  try {
    return json::parse(text.begin(), text.end(), check);
  } catch (const json::parse_error& error) {
    bad_safetensors(
        file, fmt::format("the {} is no JSON (at its byte {}); copy or download the file again", what, error.byte));
  } catch (const json::out_of_range&) {
    bad_safetensors(file, fmt::format("the {} has a number larger than any", what));
  }
}

// [1, 2, 3] of values that `number` has passed; of more than 8 the first ones.
std::string brief_list(const json& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size() && i < 8; ++i) text += (i > 0 ? ", " : "") + brief(values[i]);
  return text + (values.size() > 8 ? ", …]" : "]");
}

size_t number(const json& value, const fs::path& file, const std::string& name, const char* what) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    bad_safetensors(file,
                    fmt::format("{} of tensor '{}' is {}, expected a whole number from 0", what, name, brief(value)));
  return value.get<size_t>();
}

// One entry of the header; offsets become positions in the file. `data` is where the data begin.
StoredTensor parse_entry(const std::string& name, const json& entry, const fs::path& file, size_t data,
                         size_t file_size) {
  const auto fail = [&](const std::string& message) {
    bad_safetensors(file, fmt::format("tensor '{}' {}", name, message));
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets"))
    fail("lacks dtype, shape or data_offsets in the header");
  StoredTensor stored{};
  const json& dtype = entry["dtype"];
  const auto* known =
      std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const Dtype& d) { return dtype == d.name; });
  if (known == std::end(kDtypes))
    fail(fmt::format("has dtype {}, which is not read here (quantized weights?)", brief(dtype)));
  stored.dtype = known->type;

  const json& shape = entry["shape"];
  if (!shape.is_array() || shape.size() > 64) fail("has a shape that is not a list of at most 64 sizes");
  size_t bytes = c10::elementSize(stored.dtype);
  for (const json& size : shape) {
    stored.shape.push_back(static_cast<int64_t>(number(size, file, name, "a size")));
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(stored.shape.back()), &bytes) || bytes > size_t{INT64_MAX})
      fail(fmt::format("has shape {}, larger than any memory", brief_list(shape)));
  }
  const json& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2) fail("has data_offsets that are not [begin, end]");
  const size_t begin = number(offsets[0], file, name, "the data offset");
  const size_t end = number(offsets[1], file, name, "the data offset");
  if (end < begin || end - begin != bytes)
    fail(fmt::format("has data_offsets {}, but {} of shape {} takes {} bytes", brief_list(offsets), known->name,
                     brief_list(shape), bytes));
  if (end > file_size - data)
    fail(
        fmt::format("ends at byte {} of the data, but the file has only {}; it is truncated: copy or download it again",
                    end, file_size - data));
  stored.begin = data + begin;
  stored.end = data + end;
  return stored;
}

}  // namespace

void bad_safetensors(const fs::path& file, const std::string& message) {
  throw BadInput(fmt::format("{}: {}", file.string(), message));
}

std::string_view safetensors_dtype_name(at::ScalarType type) {
  for (const Dtype& dtype : kDtypes)
    if (dtype.type == type) return dtype.name;
  throw Failure(fmt::format("safetensors: dtype {} cannot be written", c10::toString(type)));
}

SafetensorsHeader parse_safetensors_header(std::string_view bytes, const fs::path& file) {
  uint64_t size = 0;
  if (bytes.size() < sizeof size)
    bad_safetensors(file, fmt::format("has {} bytes, too few for safetensors", bytes.size()));
  std::memcpy(&size, bytes.data(), sizeof size);
  if (size > kMaxSafetensorsHeader || size > bytes.size() - sizeof size)
    bad_safetensors(
        file, fmt::format("claims a header of {} bytes (limit {}, file {}); it is truncated or no safetensors file",
                          size, kMaxSafetensorsHeader, bytes.size()));
  const size_t data = sizeof size + size;
  const json root = parse_flat_json(bytes.substr(sizeof size, size), file, "header");
  if (!root.is_object()) bad_safetensors(file, "the header is no JSON object");

  SafetensorsHeader header;
  for (const auto& [name, entry] : root.items()) {
    if (name != "__metadata__") {
      header.tensors[name] = parse_entry(name, entry, file, data, bytes.size());
      continue;
    }
    if (!entry.is_object()) bad_safetensors(file, "__metadata__ is not an object of texts");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) bad_safetensors(file, fmt::format("__metadata__ '{}' is not a text", key));
      header.metadata[key] = value.get<std::string>();
    }
  }

  // The data must be covered without gap or overlap.
  std::vector<std::pair<const std::string, StoredTensor>*> order;
  for (auto& tensor : header.tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  size_t covered = data;
  for (const auto* tensor : order) {
    if (tensor->second.begin != covered)
      bad_safetensors(file,
                      fmt::format("tensor '{}' begins at byte {} of the data, where {} was expected: {}", tensor->first,
                                  tensor->second.begin - data, covered - data,
                                  tensor->second.begin < covered ? "tensors overlap" : "there is a gap before it"));
    covered = tensor->second.end;
  }
  if (covered != bytes.size())
    bad_safetensors(
        file, fmt::format("has {} bytes after the last tensor; copy or download it again", bytes.size() - covered));
  return header;
}

std::map<std::string, std::string> parse_safetensors_index(std::string_view text, const fs::path& index) {
  const json root = parse_flat_json(text, index, "index");
  if (!root.is_object() || !root.contains("weight_map") || !root["weight_map"].is_object() ||
      root["weight_map"].empty())
    bad_safetensors(index, "has no weight_map with tensor names");
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : root["weight_map"].items()) {
    if (!shard.is_string()) bad_safetensors(index, fmt::format("the shard of tensor '{}' is not a file name", name));
    const fs::path file = shard.get<std::string>();
    if (file.empty() || file != file.filename() || file == "." || file == "..")
      bad_safetensors(
          index, fmt::format("the shard of tensor '{}' is '{}', expected the name of a file in the same folder", name,
                             file.string()));
    shards[name] = file.string();
  }
  return shards;
}

}  // namespace spt
