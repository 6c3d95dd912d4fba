// Start-up checks for workstations without a shared file system: every rank must see what rank 0 sees.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "dist/runtime.h"

namespace spt {

struct Seen {
  std::string what;  // "corpus data/x.h5", for the message
  std::string hash;  // what this rank sees
};

// Collective. Throws BadInput on every rank naming the hosts that see something else than rank 0, and what.
void check_same_view(Runtime& runtime, const std::vector<Seen>& mine);

// Of a file's size and its first and last MB: tells another model without reading all its weights. "missing" where
// there is none.
std::string hash_file_ends(const std::filesystem::path& path);
// The same over the names and ends of a folder's files.
std::string hash_folder(const std::filesystem::path& folder);

}  // namespace spt
