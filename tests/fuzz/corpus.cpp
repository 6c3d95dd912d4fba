// Opening a corpus: our checks. libhdf5 itself has known faults on hostile bytes, which is why spt inspect --verify
// opens unknown files in a process of its own; so the bytes here do not become the file. They choose what a well-formed
// HDF5 file holds, one command each: attributes and data sets with the names of a corpus, of other types, sizes and
// values.
#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/h5_file.h"
#include "tests/fuzz/fuzz.h"

namespace spt {
namespace {

class Commands {
 public:
  Commands(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool more() const { return left_ > 0; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  // Small numbers mostly, and those at the ends of their range.
  int64_t number() {
    constexpr int64_t kEdges[] = {INT64_MIN, -1, 0, 1, INT32_MAX, int64_t{1} << 31, int64_t{1} << 62, INT64_MAX};
    const uint8_t kind = byte();
    if (kind < 8) return kEdges[kind];
    return kind < 200 ? byte() : byte() * int64_t{257};
  }
  template <class T>
  std::vector<T> numbers() {
    std::vector<T> values(byte());
    // Rising, as offsets are, or as they come.
    const bool rising = byte() % 2 == 0;
    int64_t sum = 0;
    for (T& value : values) value = static_cast<T>(rising ? std::exchange(sum, sum + byte() % 16) : number());
    return values;
  }
  std::string text() {
    std::string text;
    for (uint8_t size = byte() % 32; size > 0; --size) text += static_cast<char>(std::max<uint8_t>(byte(), 1));
    return text;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

using Names = std::vector<const char*>;
const Names kSets = {"tokens", "trained", "offsets", "source", "id", "part_offsets", "part_sha256"};
const Names kTexts = {"arm",           "template", "system",    "role_prefix",    "tokenizer_sha256",
                      "source_sha256", "ablation", "selection", "content_sha256", "format"};
const Names kNumbers = {"version", "max_tokens", "truncated_examples", "dropped_examples"};

// A name that was not written yet, or null.
const char* take(const Names& names, std::set<std::string>& written, uint8_t choice) {
  const char* name = names[choice % names.size()];
  return written.insert(name).second ? name : nullptr;
}

// In the set's own type, unless the command says otherwise.
void write_set(const std::string& name, uint8_t command, Commands& commands, H5Writer& file) {
  const bool is_text = name == "source" || name == "id" || name == "part_sha256";
  const int own = is_text ? 3 : name == "tokens" ? 0 : name == "trained" ? 1 : 2;
  switch (command > 240 ? command % 4 : own) {
    case 0:
      return file.append(name, std::span<const int32_t>(commands.numbers<int32_t>()));
    case 1:
      return file.append(name, std::span<const uint8_t>(commands.numbers<uint8_t>()));
    case 2:
      return file.append(name, std::span<const int64_t>(commands.numbers<int64_t>()));
    default: {
      std::vector<std::string> values(commands.byte());
      for (std::string& value : values) value = commands.text();
      return file.append(name, 32, std::span<const std::string>(values));
    }
  }
}

void write_file(Commands commands, H5Writer& file) {
  std::set<std::string> written;
  while (commands.more()) {
    const uint8_t command = commands.byte(), choice = commands.byte();
    if (command % 3 == 0) {
      if (const char* name = take(kTexts, written, choice)) file.text_attribute(name, commands.text());
    } else if (command % 3 == 1) {
      if (const char* name = take(kNumbers, written, choice)) file.int_attribute(name, commands.number());
    } else if (const char* name = take(kSets, written, choice)) {
      write_set(name, command, commands, file);
    }
  }
  // The rest is that of a sound corpus, or no command would get past the first thing that lacks.
  const auto lacks = [&](const char* name) { return !written.contains(name); };
  for (const char* name : kTexts)
    if (lacks(name))
      file.text_attribute(name, name == kTexts.front() ? "role" : name == kTexts.back() ? kCorpusFormat : "{}");
  for (const char* name : kNumbers)
    if (lacks(name)) file.int_attribute(name, name == kNumbers.front() ? kCorpusVersion : 64);
  if (lacks("tokens")) file.append("tokens", std::span<const int32_t>(std::vector<int32_t>{1, 2, 3, 4}));
  if (lacks("trained")) file.append("trained", std::span<const uint8_t>(std::vector<uint8_t>{0, 1, 0, 1}));
  if (lacks("offsets")) file.append("offsets", std::span<const int64_t>(std::vector<int64_t>{0, 2, 4}));
  for (const char* name : {"source", "id"})
    if (lacks(name)) file.append(name, 1, std::span<const std::string>(std::vector<std::string>{"a", "b"}));
}

}  // namespace
}  // namespace spt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spt;
  static const FuzzFolder folder;
  const auto path = folder.path() / "corpus.h5";
  H5Writer file(path, 16);
  write_file(Commands(data, size), file);
  file.commit();
  may_refuse([&] {
    const Dataset corpus(path);
    for (int64_t row = 0; row < corpus.size(); ++row)
      may_refuse([&] {
        corpus.id(row);
        corpus.source(row);
        corpus.batch(std::span(&row, 1));
      });
    may_refuse([&] { corpus.verify(); });
  });
  return 0;
}
