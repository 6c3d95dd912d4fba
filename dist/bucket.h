// A stretch [begin, end) of flat buffers that the ranks of a group reduce and gather at once. Each rank owns an equal
// part of it: rank r the r-th.
#pragma once

#include <cstdint>

namespace spt {

struct Bucket {
  int64_t begin = 0, end = 0;
};

}  // namespace spt
