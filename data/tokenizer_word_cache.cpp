#include "data/tokenizer_word_cache.h"

#include <algorithm>
#include <atomic>
#include <functional>

namespace spt {
namespace {

// Bytes of the space that `text` begins with, 0 for none.
size_t space_at_front(std::string_view text, bool blanks) {
  if (blanks && text.starts_with(' ')) return 1;
  return text.starts_with(kMark) ? kMark.size() : 0;
}

}  // namespace

bool has_mark_inside(std::string_view token) {
  while (token.starts_with(kMark)) token.remove_prefix(kMark.size());
  return token.find(kMark) != std::string_view::npos;
}

std::vector<std::string_view> words_by_mark(std::string_view text, bool blanks) {
  std::vector<std::string_view> words;
  size_t begin = 0;
  bool after_space = true;
  for (size_t at = 0; at < text.size();) {
    const size_t space = space_at_front(text.substr(at), blanks);
    if (space > 0 && !after_space) {
      words.push_back(text.substr(begin, at - begin));
      begin = at;
    }
    after_space = space > 0;
    at += std::max<size_t>(space, 1);
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

WordCache::WordCache() {
  static std::atomic<uint64_t> made = 0;
  number_ = ++made;
}

WordCache::Slot& WordCache::slot_of(std::string_view word) const {
  constexpr size_t kSlots = 1 << 15;
  thread_local Table table;
  if (table.owner != number_) {
    table.slots.assign(kSlots, Slot());
    table.owner = number_;
  }
  return table.slots[std::hash<std::string_view>()(word) & (kSlots - 1)];
}

}  // namespace spt
