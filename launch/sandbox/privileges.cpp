#include "launch/sandbox/privileges.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

namespace spt {
namespace {

void check(bool good, const std::string& step) {
  if (!good) throw Failure(fmt::format("{}: {}", step, std::strerror(errno)));
}

// One write: the kernel takes the whole map or none.
void write_file(const std::string& path, const std::string& text) {
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  check(file >= 0, path);
  const ssize_t count = write(file, text.data(), text.size());
  check(count == static_cast<ssize_t>(text.size()), "writing " + path);
  close(file);
}

// In a container root may have few users to give.
bool exists_here(const char* map, unsigned id) {
  std::ifstream ranges(map);
  for (unsigned long inside = 0, outside = 0, count = 0; ranges >> inside >> outside >> count;)
    if (id >= inside && id - inside < count) return true;
  return false;
}

std::string map_for(const char* own_map, unsigned own, pid_t child) {
  const unsigned unused = 2'000'000'000U + static_cast<unsigned>(child);  // process ids end at 4,194,304
  if (own == 0)
    for (const unsigned id : {unused, kSandboxUser})
      if (exists_here(own_map, id)) return fmt::format("0 0 1\n{} {} 1\n", kSandboxUser, id);
  return fmt::format("{} {} 1\n", kSandboxUser, own);
}

}  // namespace

void map_users(pid_t child) {
  const std::string folder = fmt::format("/proc/{}", child);
  const bool root = geteuid() == 0;
  if (!root) write_file(folder + "/setgroups", "deny");
  write_file(folder + "/uid_map", map_for("/proc/self/uid_map", geteuid(), child));
  write_file(folder + "/gid_map", map_for("/proc/self/gid_map", root ? 0 : getegid(), child));
}

void drop_privileges(bool become_user) {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability)
    prctl(PR_CAPBSET_DROP, capability);  // refused to whoever has none to drop
  if (become_user) {
    setgroups(0, nullptr);  // refused where an unprivileged user made the namespace: its groups stay, nothing that it
                            // sees is theirs
    check(setresgid(kSandboxUser, kSandboxUser, kSandboxUser) == 0, "setresgid");
    check(setresuid(kSandboxUser, kSandboxUser, kSandboxUser) == 0, "setresuid");
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  check(syscall(SYS_capset, &header, none) == 0, "capset");
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no-new-privileges");
}

}  // namespace spt
