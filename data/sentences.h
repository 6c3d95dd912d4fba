// A text as sentences.
#pragma once

#include <string_view>
#include <vector>

namespace spt {

// The sentences with the white space after them: one ends at white space after . ! ? (and quotes or brackets behind
// it), or at a line end. Put together they are the text, of which they are views.
std::vector<std::string_view> sentences_of(std::string_view text);

}  // namespace spt
