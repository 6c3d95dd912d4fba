#include "data/tokenizer_byte_level.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "data/utf8.h"

namespace spt {
namespace {

// Visible Latin-1 characters stand for themselves, the other bytes for U+0100, U+0101, … in order.
const std::array<std::string, 256>& byte_characters() {
  static const std::array<std::string, 256> kTable = [] {
    std::array<std::string, 256> characters;
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      characters[byte] = utf8_encode(visible ? byte : next++);
    }
    return characters;
  }();
  return kTable;
}

const std::unordered_map<std::string_view, char>& character_bytes() {
  static const std::unordered_map<std::string_view, char> kTable = [] {
    std::unordered_map<std::string_view, char> bytes;
    for (size_t byte = 0; byte < 256; ++byte) bytes.emplace(byte_characters()[byte], static_cast<char>(byte));
    return bytes;
  }();
  return kTable;
}

}  // namespace

std::string bytes_to_characters(std::string_view bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes) text += byte_characters()[static_cast<unsigned char>(byte)];
  return text;
}

std::string characters_to_bytes(std::string_view text) {
  std::string bytes;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t length = std::max<size_t>(1, utf8_length(rest));
    const auto found = character_bytes().find(rest.substr(0, length));
    if (found == character_bytes().end()) return std::string(text);
    bytes += found->second;
    rest.remove_prefix(length);
  }
  return bytes;
}

}  // namespace spt
