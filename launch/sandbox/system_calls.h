// What code in the sandbox may ask of the kernel.
#pragma once

namespace spt {

// For this thread and all that it starts, for good: no sockets but connected pairs, no further processes (threads may
// be), nothing that looks into other processes, mounts, makes namespaces, keeps memory outside the process's own limits
// or widens the kernel's attack surface; and no system call that came after Linux 5.1 (glibc and Python fall back to
// older ones). Needs no-new-privileges. Throws Failure where the kernel has no seccomp.
void deny_system_calls();

}  // namespace spt
