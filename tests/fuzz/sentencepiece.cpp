// tokenizer.model: a SentencePiece protobuf.
#include "data/tokenizer.h"
#include "tests/fuzz/tokenizer_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spt;
  static const FuzzFolder folder;
  folder.put("tokenizer.model", as_text(data, size));
  may_refuse([&] { use_tokenizer(*load_tokenizer(folder.path())); });
  return 0;
}
