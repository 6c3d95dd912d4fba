// glibc gives large blocks back to the kernel at every free; a training step then spends a sixth of its processor time
// in page faults.
#pragma once

namespace spt {

// Call once, first thing in main: freed memory stays with the process, in fragments beside what is in use, and large
// tensors lie in pages of 2 MB (docs/performance.md). With SPT_RETURN_MEMORY in the environment blocks of 1 MiB and
// more go back instead.
void keep_freed_memory();

}  // namespace spt
