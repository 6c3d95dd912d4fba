// SHA-256 of large files, remembered between runs.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>

namespace spt {

// sha256_file(path), or what it was when a file of this path, device, inode, size and times was hashed last (one that
// changed within two seconds before is not remembered: times are coarse). Known
// hashes lie in $XDG_CACHE_HOME/spt/sha256 (~/.cache/spt/sha256), a small file each; where that cannot be written
// nothing is remembered. Throws BadInput when the file cannot be read. `stop` as of sha256_file.
std::string cached_sha256_file(const std::filesystem::path& path, const std::stop_token& stop = {});

}  // namespace spt
