#include "base/allocator.h"

#include <cstdlib>
#include <limits>

#include <malloc.h>

namespace spt {

void keep_freed_memory() {
#ifdef __GLIBC__
  if (std::getenv("SPT_RETURN_MEMORY") != nullptr) {
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    return;
  }
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the highest it takes
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

}  // namespace spt
