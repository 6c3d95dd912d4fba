#include "data/named_config.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const std::string& kind) {
  if (const char* configs = std::getenv("SPT_CONFIGS"); configs != nullptr && *configs != '\0')
    return fs::path(configs) / kind;
  return program_files() / "configs" / kind;
}

}  // namespace

fs::path program_files() {
  std::error_code error;
  const fs::path above = fs::read_symlink("/proc/self/exe", error).parent_path().parent_path();
  const fs::path installed = above / "share" / "spt";
  return fs::is_directory(installed, error) ? installed : above;
}

fs::path named_config(const std::string& kind, const std::string& name_or_file) {
  if (name_or_file.find('/') != std::string::npos || name_or_file.ends_with(".yaml")) return name_or_file;
  fs::path path = folder_of(kind) / (name_or_file + ".yaml");
  std::error_code error;
  if (!fs::is_directory(path.parent_path(), error))
    throw BadInput(
        fmt::format("there is no folder {} to look for \"{}\" in: set SPT_CONFIGS to the program's folder of "
                    "configurations, or give a file (./mine.yaml)",
                    path.parent_path().string(), name_or_file));
  if (!fs::exists(path, error))
    throw BadInput(fmt::format("there is no {} \"{}\" in {}; there are: {} (or give a file: ./mine.yaml)",
                               kind.substr(0, kind.size() - 1), name_or_file, path.parent_path().string(),
                               fmt::join(config_names(kind), ", ")));
  return path;
}

std::vector<std::string> config_names(const std::string& kind) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_of(kind), error))
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace spt
