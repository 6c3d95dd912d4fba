// Who code in the sandbox is.
#pragma once

#include <sys/types.h>

namespace spt {

inline constexpr unsigned kSandboxUser = 65534;  // inside, also its group

// Tells the new user namespace of process `child` which users of this machine its users are. Started by root,
// kSandboxUser is a user that nobody has, another one for every sandbox, and 0 stays root until the child drops its
// privileges: it may have to pass through root's folders to the interpreter. Started by another user, kSandboxUser is
// that user. Throws Failure.
void map_users(pid_t child);

// For good: no capabilities, none to be had by execve; in a sandbox (`become_user`) also kSandboxUser without further
// groups.
void drop_privileges(bool become_user);

}  // namespace spt
