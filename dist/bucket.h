// A stretch [begin, end) of flat buffers that the ranks of a group reduce and gather at once. Each rank owns an equal
// part of it: rank r the r-th.
#pragma once

#include <cstdint>

namespace spt {

struct Bucket {
  int64_t begin = 0, end = 0;

  int64_t length() const { return end - begin; }
  // REQUIRES: `ranks` divides its length.
  Bucket part(int rank, int ranks) const {
    const int64_t each = length() / ranks;
    return {begin + rank * each, begin + (rank + 1) * each};
  }
};

}  // namespace spt
