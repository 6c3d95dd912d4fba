// Makes encoding fast: most words of a text were seen before. A text may be cut into words that are encoded one by one
// when no token joins across the cuts, which is so before each run of "▁" in a vocabulary whose tokens have "▁" in
// front only (Llama's and Mistral's; others are encoded whole).
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace spt {

constexpr std::string_view kMark = "▁";

// Whether `token` has a "▁" after another character.
bool has_mark_inside(std::string_view token);

// Cuts before each run of "▁", and of ' ' with `blanks`. The words cover the text in order.
std::vector<std::string_view> words_by_mark(std::string_view text, bool blanks);

// Ids of words met before. Holds at most kEntries short words, then takes no more. Safe to use from several threads.
class WordCache {
 public:
  // Appends the ids of `word`: those remembered, else those `encode` appends.
  template <class Encode>
  void append(std::string_view word, std::vector<int32_t>& ids, Encode encode) const {
    if (word.size() > kWordBytes) return encode(word, ids);
    if (look_up(word, ids)) return;
    const size_t before = ids.size();
    encode(word, ids);
    remember(word, {ids.begin() + static_cast<ptrdiff_t>(before), ids.end()});
  }

 private:
  static constexpr size_t kEntries = 1 << 16, kWordBytes = 48;
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard library's name
  };
  bool look_up(std::string_view word, std::vector<int32_t>& ids) const;
  void remember(std::string_view word, std::vector<int32_t> ids) const;

  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::vector<int32_t>, Hash, std::equal_to<>> words_;
};

}  // namespace spt
