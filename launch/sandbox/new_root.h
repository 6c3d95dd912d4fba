// The files that code in the sandbox sees.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spt {

// For a process alone in new mount and user namespaces: its root becomes a read-only one of /usr, /lib* and what `view`
// names (folders or files, without symbolic links), null, zero and urandom in /dev, and an empty /tmp of
// `folder_bytes`, which is its working directory and belongs to `owner`. There is no /proc, /sys, /etc, home. Throws
// Failure with the step that failed.
void enter_new_root(std::vector<std::string> view, int64_t folder_bytes, unsigned owner);

}  // namespace spt
