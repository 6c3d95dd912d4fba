// Texts as words and runs of words, for telling what stands in both of two texts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spt {

// The words of a text: ASCII letters in lower case; white space and punctuation (ASCII's, and U+2000…U+206F: dashes,
// curly quotes, wide spaces) stand between words; all other bytes are kept as they are.
std::vector<std::string> words_of(std::string_view text);

// One hash for each run of n consecutive words, in order: element i is of words i…i+n−1. Empty with fewer than n words.
// The same on every machine. n must be at least 1.
std::vector<uint64_t> ngram_hashes(std::span<const std::string> words, size_t n);

}  // namespace spt
