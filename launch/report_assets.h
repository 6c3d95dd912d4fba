// The files of launch/report/ as the program carries them (cmake/embed_text.cmake), and the charts' library, which it
// does not.
#pragma once

#include <string>

namespace spt {

extern const char* const kReportPage;    // page.html
extern const char* const kReportStyle;   // page.css
extern const char* const kReportScript;  // the .js files in the order of their names

// plotly.min.js, from where SPT_PLOTLY says, from beside the program or from its files (data/named_config.h). Throws
// BadInput, saying what to do: it is not there, or it is something else.
std::string read_plotly();

}  // namespace spt
