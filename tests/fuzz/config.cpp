// A YAML configuration, and the same bytes as overrides.
#include "data/config_file.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spt;
  const std::string text(as_text(data, size));
  may_refuse([&] { parse_config_values(text, "x.yaml"); });
  may_refuse([&] { parse_overrides({text}); });
  return 0;
}
