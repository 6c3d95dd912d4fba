#include "dist/host_threads.h"

#include <algorithm>

namespace spt {

int threads_of_rank(const std::vector<cpu_set_t>& masks, int local_rank) {
  const cpu_set_t& mine = masks[static_cast<size_t>(local_rank)];
  int sharers = 0;
  for (const cpu_set_t& other : masks) {
    cpu_set_t common;
    CPU_AND(&common, &mine, &other);
    if (CPU_COUNT(&common) > 0) ++sharers;
  }
  return std::max(1, CPU_COUNT(&mine) / std::max(1, sharers));
}

}  // namespace spt
