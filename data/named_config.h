// Files that come with the program, and those of configs/ that a user may name: `--template chatml` is
// configs/templates/chatml.yaml.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace spt {

// The folder of files that come with the program: ../share/spt seen from its own where it is installed, else the one
// above (a build folder lies in the sources).
std::filesystem::path program_files();

// The file for NAME in `kind` ("templates", "annotators") of the configs folder ($SPT_CONFIGS, else `configs` of
// program_files), or, when `name_or_file` has a slash or ends in .yaml, that file itself, which may be missing. Throws
// BadInput listing the names there are when there is no such NAME.
std::filesystem::path named_config(const std::string& kind, const std::string& name_or_file);

// The names of a kind, sorted.
std::vector<std::string> config_names(const std::string& kind);

}  // namespace spt
