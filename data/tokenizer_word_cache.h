// Makes encoding fast: most words of a text were seen before. A text may be cut into words that are encoded one by one
// when no token joins across the cuts, which is so before each run of "▁" in a vocabulary whose tokens have "▁" in
// front only (Llama's and Mistral's; others are encoded whole).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace spt {

constexpr std::string_view kMark = "▁";

// Whether `token` has a "▁" after another character.
bool has_mark_inside(std::string_view token);

// Cuts before each run of "▁", and of ' ' with `blanks`. The words cover the text in order.
std::vector<std::string_view> words_by_mark(std::string_view text, bool blanks);

// Ids of words met lately. Each thread remembers its own, of the cache that it used last: no locks, and a fixed size.
class WordCache {
 public:
  WordCache();
  WordCache(const WordCache&) = delete;  // its number is its own

  // Appends the ids of `word`: those remembered, else those `encode` appends, which must depend on the word alone.
  template <class Encode>
  void append(std::string_view word, std::vector<int32_t>& ids, Encode encode) const {
    if (word.size() > Slot::kWordBytes) return encode(word, ids);
    Slot& slot = slot_of(word);
    if (slot.holds(word)) {
      ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.count);
      return;
    }
    const size_t before = ids.size();
    encode(word, ids);
    if (ids.size() - before <= Slot::kIds) slot.remember(word, ids.data() + before, ids.size() - before);
  }

 private:
  struct Slot {  // a cache line
    static constexpr size_t kWordBytes = 22, kIds = 10;
    uint8_t size = kWordBytes + 1;  // of the word; none at first
    uint8_t count = 0;
    std::array<char, kWordBytes> word{};
    std::array<int32_t, kIds> ids{};

    bool holds(std::string_view other) const {
      return size == other.size() && std::memcmp(word.data(), other.data(), size) == 0;
    }
    void remember(std::string_view new_word, const int32_t* new_ids, size_t new_count) {
      size = static_cast<uint8_t>(new_word.size());
      count = static_cast<uint8_t>(new_count);
      std::copy(new_word.begin(), new_word.end(), word.begin());
      std::copy_n(new_ids, new_count, ids.begin());
    }
  };
  struct Table {
    uint64_t owner = 0;  // number of the cache whose words these are
    std::vector<Slot> slots;
  };
  Slot& slot_of(std::string_view word) const;

  uint64_t number_;  // of this cache among all: an address may be used again
};

}  // namespace spt
