#include "launch/sandbox/forbidden.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

namespace spt {
namespace {

struct Setting {
  const char* name;
  bool (*forbids)(long value);
  const char* cure;
};

constexpr Setting kSettings[] = {
    {"user/max_user_namespaces", [](long value) { return value == 0; }, "sysctl -w user.max_user_namespaces=10000"},
    // Debian 10 and older, and kernels with its patch.
    {"kernel/unprivileged_userns_clone", [](long value) { return value == 0; },
     "sysctl -w kernel.unprivileged_userns_clone=1"},
    // Ubuntu 23.10 and newer: the namespace is made, and its capabilities taken away.
    {"kernel/apparmor_restrict_unprivileged_userns", [](long value) { return value != 0; },
     "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns` for spt-sandbox"},
};

}  // namespace

std::string why_forbidden() {
  std::string reasons;
  for (const Setting& setting : kSettings) {
    std::ifstream file(std::string("/proc/sys/") + setting.name);
    long value = 0;
    if (!(file >> value) || !setting.forbids(value)) continue;
    std::string name = setting.name;
    name[name.find('/')] = '.';
    reasons += fmt::format("{}{}={} forbids it (as root: {})", reasons.empty() ? "" : "; ", name, value, setting.cure);
  }
  if (!reasons.empty()) return reasons;
  for (const char* mark : {"/.dockerenv", "/run/.containerenv", "/singularity", "/.singularity.d"})
    if (std::filesystem::exists(mark))
      return "this is a container, whose seccomp or AppArmor profile may forbid user namespaces and mounts";
  return "no setting of the kernel that is known to forbid it does so here";
}

}  // namespace spt
