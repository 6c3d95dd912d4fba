// Short texts over a group: names, hashes, choices.
#pragma once

#include <string>
#include <vector>

#include "dist/communicator.h"

namespace spt {

// Collective; `host` is a group of CPU ranks (Runtime::host_world).
std::vector<std::string> all_gather_text(Communicator& host, const std::string& mine);  // by rank
std::string broadcast_text(Communicator& host, const std::string& roots, int root = 0);

}  // namespace spt
