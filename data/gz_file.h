// Whole files, compressed with gzip or not. The only place that knows zlib.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace spt {

// The text of a file, unpacked where it begins as gzip does. Throws BadInput naming the file: missing, no regular file,
// damaged, more than `limit` bytes of text.
std::string read_gz_or_plain(const std::filesystem::path& path, size_t limit);

}  // namespace spt
