#include "trainer/eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>
#include <random>

#include <fmt/format.h>

#include "base/error.h"
#include "data/text_hash.h"

namespace spt {
namespace {

constexpr double kTail = (1 - kConfidence) / 2;

void check_items(const std::vector<PairedItem>& items) {
  if (items.size() < 2) throw BadInput(fmt::format("{} items, and a comparison needs at least 2", items.size()));
  for (const PairedItem& item : items) {
    if (!std::isfinite(item.a) || !std::isfinite(item.b))
      throw BadInput(fmt::format("item {} has the values {} and {}, and both must be finite", item.id, item.a, item.b));
    if (!std::isfinite(item.weight) || item.weight <= 0)
      throw BadInput(fmt::format("item {} has the weight {}, which must be above 0", item.id, item.weight));
  }
}

void add(const PairedItem& item, PairedUnit& unit) {
  unit.a += item.a;
  unit.b += item.b;
  unit.weight += item.weight;
}

class Indices {
 public:
  Indices(uint64_t seed, uint64_t size) : engine_(seed), size_(size), rejected_((uint64_t{1} << 32) % size) {}

  size_t next() {
    uint64_t product = 0;
    do product = (engine_() >> 32) * size_;
    while ((product & 0xFFFFFFFF) < rejected_);
    return product >> 32;
  }

 private:
  std::mt19937_64 engine_;
  uint64_t size_;      // below 2^32
  uint64_t rejected_;  // low halves of the product below this would make some indices more likely
};

double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// P(T > t) for t ≥ 0, by the finite series for whole degrees (Abramowitz & Stegun 26.7.3 and 26.7.4).
double student_t_tail(double t, int64_t degrees) {
  const double theta = std::atan(t / std::sqrt(static_cast<double>(degrees)));
  const double cosine = std::cos(theta);
  const bool is_odd = degrees % 2 == 1;
  double term = is_odd ? cosine : 1, sum = degrees == 1 ? 0 : term;
  for (int64_t i = is_odd ? 3 : 2; i < degrees; i += 2) {
    term *= cosine * cosine * static_cast<double>(i - 1) / static_cast<double>(i);
    sum += term;
  }
  const double central = is_odd ? 2 / std::numbers::pi * (theta + std::sin(theta) * sum) : std::sin(theta) * sum;
  return (1 - central) / 2;
}

}  // namespace

std::vector<PairedUnit> paired_units(std::vector<PairedItem> items) {
  check_items(items);
  std::sort(items.begin(), items.end(), [](const PairedItem& x, const PairedItem& y) { return x.id < y.id; });
  std::map<std::optional<std::string>, PairedUnit> groups;
  for (const PairedItem& item : items) add(item, groups[item.group]);
  std::vector<PairedUnit> units;
  if (groups.size() > 1)
    for (const auto& [name, unit] : groups) units.push_back(unit);
  else
    for (const PairedItem& item : items) add(item, units.emplace_back());
  return units;
}

Means means_of(const std::vector<PairedUnit>& units) {
  PairedUnit sum;
  for (const PairedUnit& unit : units) {
    sum.a += unit.a;
    sum.b += unit.b;
    sum.weight += unit.weight;
  }
  return {sum.a / sum.weight, sum.b / sum.weight};
}

std::vector<double> resampled_differences(const std::vector<PairedUnit>& units, const Resampling& resampling,
                                          const std::string& stream) {
  struct Drawn {
    double difference, weight;
  };
  std::vector<Drawn> table;
  for (const PairedUnit& unit : units) table.push_back({unit.a - unit.b, unit.weight});
  Indices indices(text_hash(stream, resampling.seed), table.size());
  std::vector<double> differences(static_cast<size_t>(resampling.count));
  for (double& result : differences) {
    Drawn sum = {0, 0};
    for (size_t i = 0; i < table.size(); ++i) {
      const Drawn& drawn = table[indices.next()];
      sum.difference += drawn.difference;
      sum.weight += drawn.weight;
    }
    result = sum.difference / sum.weight;
  }
  return differences;
}

std::vector<double> mean_over_tasks(const std::vector<std::vector<double>>& resampled) {
  std::vector<double> mean(resampled.at(0).size());
  for (size_t i = 0; i < mean.size(); ++i) {
    for (const auto& task : resampled) mean[i] += task.at(i);
    mean[i] /= static_cast<double>(resampled.size());
  }
  return mean;
}

Estimate estimate(double value, std::vector<double> resampled) {
  // Sums of the same scores in another order may differ in their last bits: equally far counts as at least as far.
  const double limit = std::abs(value) * (1 - 1e-12);
  const auto extreme = std::count_if(resampled.begin(), resampled.end(),
                                     [&](double difference) { return std::abs(difference - value) >= limit; });
  std::sort(resampled.begin(), resampled.end());
  return {value, quantile(resampled, kTail), quantile(resampled, 1 - kTail),
          static_cast<double>(extreme + 1) / static_cast<double>(resampled.size() + 1)};
}

double mcnemar_p(int64_t only_a, int64_t only_b) {
  const int64_t n = only_a + only_b;
  const int64_t fewer = std::min(only_a, only_b);
  const auto log_factorial = [](int64_t i) { return std::lgamma(static_cast<double>(i + 1)); };
  double term = std::exp(log_factorial(n) - log_factorial(fewer) - log_factorial(n - fewer) -
                         static_cast<double>(n) * std::numbers::ln2);
  double sum = 0;
  for (int64_t k = fewer; k >= 0; --k) {
    sum += term;
    term *= static_cast<double>(k) / static_cast<double>(n - k + 1);
  }
  return std::min(1.0, 2 * sum);
}

std::vector<double> holm(const std::vector<double>& p) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t x, size_t y) { return p[x] < p[y]; });
  std::vector<double> adjusted(p.size());
  double largest = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, std::min(1.0, static_cast<double>(p.size() - i) * p[order[i]]));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

double student_t_quantile(int64_t degrees) {
  double low = 0, high = 16;  // one degree: 12.7
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (student_t_tail(middle, degrees) > kTail ? low : high) = middle;
  }
  return high;
}

Interval wilson_interval(int64_t count, int64_t n) {
  constexpr double kZ = 1.9599639845400545;  // leaves kTail above it
  const auto trials = static_cast<double>(n);
  const double share = static_cast<double>(count) / trials;
  const double z2 = kZ * kZ / trials;
  const double half = kZ * std::sqrt(share * (1 - share) / trials + z2 / (4 * trials));
  const double centre = share + z2 / 2;
  // At a share of 0 or 1 the end there is exact but for rounding.
  return {share, count == 0 ? 0 : (centre - half) / (1 + z2), count == n ? 1 : (centre + half) / (1 + z2)};
}

std::optional<Interval> t_interval(const std::vector<double>& values) {
  if (values.size() < 3) return std::nullopt;
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double half = student_t_quantile(static_cast<int64_t>(values.size()) - 1) * std::sqrt(squares / (n - 1) / n);
  return Interval{mean, mean - half, mean + half};
}

}  // namespace spt
