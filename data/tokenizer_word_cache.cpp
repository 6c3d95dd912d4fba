#include "data/tokenizer_word_cache.h"

#include <algorithm>
#include <utility>

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

bool WordCache::look_up(std::string_view word, std::vector<int32_t>& ids) const {
  const std::lock_guard lock(mutex_);
  const auto found = words_.find(word);
  if (found == words_.end()) return false;
  ids.insert(ids.end(), found->second.begin(), found->second.end());
  return true;
}

void WordCache::remember(std::string_view word, std::vector<int32_t> ids) const {
  const std::lock_guard lock(mutex_);
  if (words_.size() < kEntries) words_.emplace(word, std::move(ids));
}

}  // namespace spt
