// Memory that a group of ranks keeps over MPI for what others send to be added.
#pragma once

#include <cstdint>

namespace spt {

inline constexpr int64_t kScratchBytes = 32 << 20;

}  // namespace spt
