// The header of a weight file, and the index over shards.
#include "data/safetensors_header.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spt;
  const std::string_view bytes = as_text(data, size);
  may_refuse([&] {
    for (const auto& [name, tensor] : parse_safetensors_header(bytes, "x.safetensors").tensors)
      if (tensor.begin > tensor.end || tensor.end > size) std::abort();
  });
  may_refuse([&] { parse_safetensors_index(bytes, "x.json"); });
  return 0;
}
