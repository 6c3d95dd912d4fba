// Text from outside (records, models' answers, file names) as a terminal may be given it.
#pragma once

#include <string>
#include <string_view>

namespace spt {

// Such text can neither move the cursor, colour, hide nor reorder what is shown: control characters but line feed and
// tab, and the marks that turn the direction of writing, stand as \xNN or \uNNNN; bytes that are not UTF-8 as U+FFFD.
std::string printable(std::string_view text);

}  // namespace spt
