// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace spt {

bool is_utf8(std::string_view bytes);

// Bytes of the whole character at the front of `bytes`, 1 to 4; 0 when there is none (also for empty `bytes`).
size_t utf8_length(std::string_view bytes);

// The bytes of a code point, which must be one (no surrogate, at most U+10FFFF).
std::string utf8_encode(char32_t code_point);

// As Python's bytes.decode(errors="replace"): each longest beginning of a character that is not completed, and each
// byte that begins none, becomes one U+FFFD.
std::string utf8_replace_invalid(std::string_view bytes);

}  // namespace spt
