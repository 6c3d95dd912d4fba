// Small files as a whole.
#pragma once

#include <filesystem>
#include <string>

namespace spt {

// Throws BadInput where it is a named pipe or a socket, which would be waited for.
void refuse_pipe(const std::filesystem::path& path);

// Throws BadInput naming the file and the system's reason: missing, a folder, a named pipe, not readable.
std::string read_file(const std::filesystem::path& path);

}  // namespace spt
