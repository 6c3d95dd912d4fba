#include "data/printable.h"

#include <fmt/format.h>

#include "data/utf8.h"

namespace spt {
namespace {

char32_t code_point(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return byte(0);
  char32_t value = byte(0) & (0x7F >> character.size());
  for (size_t i = 1; i < character.size(); ++i) value = value << 6 | (byte(i) & 0x3F);
  return value;
}

bool is_control(char32_t c) {
  return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
}

// Unicode's bidirectional marks and its line and paragraph separators.
bool is_reordering(char32_t c) {
  return c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

}  // namespace

std::string printable(std::string_view text) {
  const std::string valid = utf8_replace_invalid(text);
  std::string out;
  out.reserve(valid.size());
  for (std::string_view rest = valid; !rest.empty();) {
    const std::string_view character = rest.substr(0, utf8_length(rest));
    const char32_t c = code_point(character);
    if (is_control(c) && c < 0x80)
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    else if (is_control(c) || is_reordering(c))
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    else
      out += character;
    rest.remove_prefix(character.size());
  }
  return out;
}

}  // namespace spt
