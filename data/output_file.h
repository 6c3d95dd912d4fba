// Whether a command may write a file: asked before any work.
#pragma once

#include <filesystem>
#include <vector>

namespace spt {

// Throws BadInput, naming `option`, when `path` is one of `others`, a folder or a device, or its folder cannot be
// written to.
void check_output(const std::filesystem::path& path, const char* option,
                  const std::vector<std::filesystem::path>& others);
// Throws BadInput: it exists, and --force is the knob.
void refuse_existing(const std::filesystem::path& path);

}  // namespace spt
