#include "data/lengths.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace spt {

Lengths summarize(std::vector<int64_t> lengths) {
  Lengths found;
  if (lengths.empty()) return found;
  std::sort(lengths.begin(), lengths.end());
  const auto quantile = [&](size_t percent) { return lengths[(lengths.size() * percent + 99) / 100 - 1]; };
  found.count = static_cast<int64_t>(lengths.size());
  found.total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  found.p5 = quantile(5);
  found.p50 = quantile(50);
  found.p95 = quantile(95);
  found.max = lengths.back();
  return found;
}

std::vector<HistogramBin> histogram(const std::vector<int64_t>& lengths, int64_t most) {
  if (lengths.empty()) return {};
  const auto ends = std::minmax_element(lengths.begin(), lengths.end());
  const int64_t shortest = *ends.first, longest = *ends.second;
  constexpr std::array<int64_t, 3> kSteps = {1, 2, 5};
  const auto bins_of = [&](int64_t width) { return longest / width - shortest / width + 1; };
  int64_t width = 1;
  for (int64_t power = 1, i = 0; bins_of(width) > most; power *= i == 2 ? 10 : 1, i = (i + 1) % 3)
    width = power * kSteps[static_cast<size_t>(i)];
  std::vector<HistogramBin> bins(static_cast<size_t>(bins_of(width)));
  for (size_t i = 0; i < bins.size(); ++i) {
    const int64_t begin = (shortest / width + static_cast<int64_t>(i)) * width;
    bins[i] = {begin, begin + width, 0};
  }
  for (const int64_t length : lengths) ++bins[static_cast<size_t>(length / width - shortest / width)].count;
  return bins;
}

}  // namespace spt
