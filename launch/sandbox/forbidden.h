// Why a machine has no sandbox.
#pragma once

#include <string>

namespace spt {

// The settings of this kernel that forbid an unprivileged user to make namespaces, each with the value that would allow
// it, or what else may be the reason. Not empty.
std::string why_forbidden();

}  // namespace spt
