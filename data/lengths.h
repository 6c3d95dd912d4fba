// How long many things are: quantiles and a histogram, for people and for scripts.
#pragma once

#include <cstdint>
#include <vector>

namespace spt {

// Quantile p is the smallest length that at least p % of the things do not exceed (nearest rank), so it is one of them.
struct Lengths {
  int64_t count = 0;
  int64_t total = 0;
  int64_t p5 = 0, p50 = 0, p95 = 0, max = 0;  // 0 where there is nothing
};
Lengths summarize(std::vector<int64_t> lengths);

struct HistogramBin {
  int64_t begin, end;  // lengths [begin, end)
  int64_t count;
};
// At most `most` bins of one width (1, 2 or 5 times a power of ten) from the shortest to the longest; no bins for no
// lengths. REQUIRES: most > 1; no length is negative.
std::vector<HistogramBin> histogram(const std::vector<int64_t>& lengths, int64_t most);

}  // namespace spt
