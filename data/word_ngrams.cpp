#include "data/word_ngrams.h"

#include "data/text_hash.h"

namespace spt {
namespace {

// Bytes of the separator that `text` begins with, 0 for a byte of a word.
size_t separator(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  const unsigned char first = byte(0);
  if (first < 0x80) {
    const unsigned char lower = first | 0x20;
    return (first >= '0' && first <= '9') || (lower >= 'a' && lower <= 'z') ? 0 : 1;
  }
  return first == 0xE2 && (byte(1) == 0x80 || (byte(1) == 0x81 && byte(2) <= 0xAF)) && byte(2) != 0 ? 3 : 0;
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  while (!text.empty()) {
    const size_t gap = separator(text);
    if (gap == 0) {
      if (!inside) words.emplace_back();
      const char c = text.front();
      words.back() += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    }
    inside = gap == 0;
    text.remove_prefix(gap == 0 ? 1 : gap);
  }
  return words;
}

std::vector<uint64_t> ngram_hashes(std::span<const std::string> words, size_t n) {
  if (words.size() < n) return {};
  std::vector<uint64_t> word_hashes, hashes;
  for (const std::string& word : words) word_hashes.push_back(text_hash(word));
  for (size_t i = 0; i + n <= words.size(); ++i) {
    uint64_t hash = 0;
    for (size_t j = i; j < i + n; ++j) hash = hash * 0x9E3779B97F4A7C15ULL + word_hashes[j];
    hashes.push_back(hash ^ (hash >> 32));
  }
  return hashes;
}

}  // namespace spt
