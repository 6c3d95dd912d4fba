// Opening a corpus: our checks. libhdf5 itself has known faults on hostile bytes, which is why spt inspect --verify
// opens unknown files in a process of its own; so the bytes here do not become the file. They choose what a well-formed
// HDF5 file holds, one command each: attributes and data sets with the names of a corpus, of other types, sizes and
// values.
#include <algorithm>
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

constexpr const char* kSets[] = {"tokens", "trained", "offsets", "source", "id"};
constexpr const char* kTexts[] = {"arm",           "template",       "system", "role_prefix", "tokenizer_sha256",
                                  "source_sha256", "content_sha256", "format"};
constexpr const char* kNumbers[] = {"version", "max_tokens", "truncated_examples", "dropped_examples"};

template <size_t n>
const char* pick(const char* const (&names)[n], bool (&written)[n], uint8_t choice) {
  const size_t place = choice % n;
  return std::exchange(written[place], true) ? nullptr : names[place];
}

void write_file(Commands commands, H5Writer& file) {
  bool sets[5] = {}, texts[8] = {}, numbers[4] = {};
  while (commands.more()) {
    const uint8_t command = commands.byte(), choice = commands.byte();
    if (command % 3 == 0) {
      if (const char* name = pick(kTexts, texts, choice)) file.text_attribute(name, commands.text());
    } else if (command % 3 == 1) {
      if (const char* name = pick(kNumbers, numbers, choice)) file.int_attribute(name, commands.number());
    } else if (const char* name = pick(kSets, sets, choice)) {
      // The set's own type unless the byte says otherwise.
      const size_t own = choice % 5 == 0 ? 0 : choice % 5 == 1 ? 1 : choice % 5 == 2 ? 2 : 3;
      const size_t type = command > 240 ? command % 4 : own;
      if (type == 0) file.write(name, std::span<const int32_t>(commands.numbers<int32_t>()));
      if (type == 1) file.write(name, std::span<const uint8_t>(commands.numbers<uint8_t>()));
      if (type == 2) file.write(name, std::span<const int64_t>(commands.numbers<int64_t>()));
      if (type == 3) {
        std::vector<std::string> values(commands.byte());
        for (std::string& value : values) value = commands.text();
        file.write(name, std::span<const std::string>(values));
      }
    }
  }
  // What no test of ours would get past without: the rest of a sound corpus.
  const auto fill_text = [&](size_t place, const char* value) {
    if (!texts[place]) file.text_attribute(kTexts[place], value);
  };
  fill_text(0, "role");
  for (size_t i = 1; i < 7; ++i) fill_text(i, "");
  fill_text(7, kCorpusFormat);
  for (size_t i = 0; i < 4; ++i)
    if (!numbers[i]) file.int_attribute(kNumbers[i], i == 0 ? 1 : 64);
  if (!sets[0]) file.write("tokens", std::span<const int32_t>(std::vector<int32_t>{1, 2, 3, 4}));
  if (!sets[1]) file.write("trained", std::span<const uint8_t>(std::vector<uint8_t>{0, 1, 0, 1}));
  if (!sets[2]) file.write("offsets", std::span<const int64_t>(std::vector<int64_t>{0, 2, 4}));
  if (!sets[3]) file.write("source", std::span<const std::string>(std::vector<std::string>{"a", "b"}));
  if (!sets[4]) file.write("id", std::span<const std::string>(std::vector<std::string>{"1", "2"}));
}

}  // namespace
}  // namespace spt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spt;
  static const FuzzFolder folder;
  H5Writer file(16);
  write_file(Commands(data, size), file);
  const auto path = folder.put("corpus.h5", file.bytes());
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
