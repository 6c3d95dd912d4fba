#include "base/allocator.h"

#include <cstdlib>
#include <string_view>

#include <malloc.h>

namespace spt {

void keep_freed_memory() {
#ifdef __GLIBC__
  const char* given = std::getenv("SPT_RETURN_MEMORY");
  if (given != nullptr && std::string_view(given) == "1") {
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    return;
  }
  mallopt(M_MMAP_MAX, 0);                  // what is mapped goes back when it is freed
  mallopt(M_TRIM_THRESHOLD, -1);           // never: of more than 2 GB no int would do
  setenv("THP_MEM_ALLOC_ENABLE", "1", 0);  // libtorch asks for pages of 2 MB where a tensor is larger
#endif
}

}  // namespace spt
