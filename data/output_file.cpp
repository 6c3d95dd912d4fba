#include "data/output_file.h"

#include <fmt/format.h>

#include "base/durable.h"
#include "base/error.h"

namespace spt {

namespace fs = std::filesystem;

void check_output(const fs::path& path, const char* option, const std::vector<fs::path>& others) {
  std::error_code error;
  if (fs::is_directory(path, error))
    throw BadInput(fmt::format("{}: {} is a folder, expected a file's name", option, path.string()));
  require_no_device(path);
  for (const fs::path& other : others)
    if (fs::weakly_canonical(path, error) == fs::weakly_canonical(other, error))
      throw BadInput(fmt::format("{}: {} is a file of this command already; choose another", option, path.string()));
  require_writable(path.has_parent_path() ? path.parent_path() : fs::path("."), option);
}

void refuse_existing(const fs::path& path) {
  std::error_code error;
  if (fs::exists(path, error))
    throw BadInput(fmt::format("{} exists; choose another name, or --force to replace it", path.string()));
}

}  // namespace spt
