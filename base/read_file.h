// Small files as a whole.
#pragma once

#include <filesystem>
#include <string>

namespace spt {

// Throws BadInput naming the file and the system's reason: missing, a folder, not readable.
std::string read_file(const std::filesystem::path& path);

}  // namespace spt
