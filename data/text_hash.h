// A hash that is the same on every machine and in every version: what is chosen "by seed" hangs on it.
#pragma once

#include <cstdint>
#include <string_view>

namespace spt {

// The finalizer of splitmix64: every bit of the input moves every bit of the result.
inline uint64_t mix_bits(uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9ULL;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBULL;
  return bits ^ (bits >> 31);
}

// FNV-1a, mixed. Not for hostile input: collisions can be made.
inline uint64_t text_hash(std::string_view text, uint64_t seed = 0) {
  uint64_t hash = 0xCBF29CE484222325ULL ^ mix_bits(seed);
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return mix_bits(hash);
}

}  // namespace spt
