// JSON lines of any format, read for each use.
#include "data/records.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spt;
  static const FuzzFolder folder;
  const auto path = folder.put("records.jsonl", as_text(data, size));
  for (const RecordUse use : {RecordUse::kTraining, RecordUse::kPrompts, RecordUse::kAny})
    may_refuse([&] {
      RecordReader reader(path, {RecordFormat::kAuto, use});
      while (const auto record = reader.next())
        if (record->turns.empty() || record->id.empty()) std::abort();
    });
  return 0;
}
