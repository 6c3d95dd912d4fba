#include "launch/report_assets.h"

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "base/error.h"
#include "base/read_file.h"
#include "data/named_config.h"

namespace spt {

std::string read_plotly() {
  namespace fs = std::filesystem;
  constexpr const char* kName = "plotly.min.js";
  const char* named = std::getenv("SPT_PLOTLY");
  fs::path path = named != nullptr ? fs::path(named) : fs::read_symlink("/proc/self/exe").parent_path() / kName;
  if (std::error_code error; named == nullptr && !fs::exists(path, error) && fs::exists(program_files() / kName, error))
    path = program_files() / kName;
  if (std::error_code error; !fs::is_regular_file(path, error))
    throw BadInput(fmt::format(
        "{}: is not there, and the page's charts are drawn by it: run ./launch/setup.sh, which fetches it, or let "
        "SPT_PLOTLY name a copy of plotly.js 4 (plotly.min.js, as in the package plotly of PyPI)",
        path.string()));
  std::string text = read_file(path);
  constexpr size_t kHead = 200;
  if (text.substr(0, kHead).find("plotly.js v4.") == std::string::npos)
    throw BadInput(fmt::format(
        "{}: does not begin as plotly.js 4 does (\"plotly.js v4.\"); name another copy by SPT_PLOTLY", path.string()));
  if (text.find("</script") != std::string::npos || text.find("<!--") != std::string::npos)
    throw BadInput(
        fmt::format("{}: has \"</script\" or \"<!--\" in it, so it cannot stand in a page; name another copy by "
                    "SPT_PLOTLY",
                    path.string()));
  return text;
}

}  // namespace spt
