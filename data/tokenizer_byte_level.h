// Byte-level vocabularies (GPT-2): each byte is written as one printable character.
#pragma once

#include <string>
#include <string_view>

namespace spt {

std::string bytes_to_characters(std::string_view bytes);

// The reverse; text with any other character in it is returned as it is.
std::string characters_to_bytes(std::string_view text);

}  // namespace spt
