// glibc gives large blocks back to the kernel at every free; a training step then spends a sixth of its processor time
// in page faults.
#pragma once

namespace spt {

// Call once, first thing in main: freed memory stays with the process.
void keep_freed_memory();

}  // namespace spt
