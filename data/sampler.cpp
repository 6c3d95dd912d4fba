#include "data/sampler.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <numeric>
#include <queue>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"

namespace spt {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): a counter and a mixing function, the same numbers on every machine.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t state) : state_(state) {}

  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15ULL); }
  // Uniform in [0, bound): values of the last, incomplete run of `bound` numbers are drawn again.
  uint64_t below(uint64_t bound) {
    const uint64_t excess = (0 - bound) % bound;  // 2^64 mod bound
    uint64_t value = next();
    while (value < excess) value = next();
    return value % bound;
  }

 private:
  uint64_t state_;
};

// Fisher–Yates. Seed and epoch are mixed one after the other, so that streams of neighbouring seeds or epochs are not
// shifted copies of each other.
std::vector<int64_t> permutation(int64_t size, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  SplitMix64 random(SplitMix64::mix(SplitMix64(seed).next() + static_cast<uint64_t>(epoch)));
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

// Longest first; of equal ones the earlier first.
std::vector<int64_t> by_length(std::span<const int64_t> rows, std::span<const int64_t> lengths) {
  std::vector<int64_t> sorted(rows.begin(), rows.end());
  std::stable_sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) {
    return lengths[static_cast<size_t>(a)] > lengths[static_cast<size_t>(b)];
  });
  return sorted;
}

// Rooms in the order in which they were opened, and the first with enough left: a tree whose nodes know the most that
// is left below them.
class Rooms {
 public:
  // REQUIRES: at least one is opened, at most `most`.
  explicit Rooms(size_t most) : leaves_(std::bit_ceil(most)), left_(2 * leaves_, -1) {}

  size_t size() const { return size_; }
  void open(int64_t room) { set(size_++, room); }
  // size() where there is none.
  size_t first_with(int64_t needed) const {
    if (left_[1] < needed) return size_;
    size_t node = 1;
    while (node < leaves_) node = left_[2 * node] >= needed ? 2 * node : 2 * node + 1;
    return node - leaves_;
  }
  void take(size_t room, int64_t taken) { set(room, left_[leaves_ + room] - taken); }

 private:
  void set(size_t room, int64_t left) {
    size_t node = leaves_ + room;
    left_[node] = left;
    while (node /= 2) left_[node] = std::max(left_[2 * node], left_[2 * node + 1]);
  }
  size_t leaves_, size_ = 0;
  std::vector<int64_t> left_;  // node n has 2n and 2n + 1 below it; -1 where no room was opened
};

}  // namespace

int64_t steps_per_epoch(const SamplerConfig& config) {
  if (config.examples < 1 || config.batch < 1)
    throw Failure(fmt::format("a sampler of {} examples in batches of {}", config.examples, config.batch));
  return (config.examples - 1) / config.batch + 1;
}

std::vector<int64_t> rows_for_step(int64_t step, const SamplerConfig& config) {
  const int64_t steps = steps_per_epoch(config);
  const std::vector<int64_t> order = permutation(config.examples, config.seed, step / steps);
  const int64_t begin = step % steps * config.batch;
  const int64_t end = begin + std::min(config.batch, config.examples - begin);
  return {order.begin() + begin, order.begin() + end};
}

std::vector<std::vector<int64_t>> deal_rows(std::span<const int64_t> rows, std::span<const int64_t> lengths,
                                            int dp_size) {
  std::vector<std::vector<int64_t>> dealt(static_cast<size_t>(dp_size));
  using Tokens = std::pair<int64_t, size_t>;                               // of a rank
  std::priority_queue<Tokens, std::vector<Tokens>, std::greater<>> ranks;  // of equal ones the first
  for (size_t rank = 0; rank < dealt.size(); ++rank) ranks.emplace(0, rank);
  for (const int64_t row : by_length(rows, lengths)) {
    const auto [tokens, rank] = ranks.top();
    ranks.pop();
    ranks.emplace(tokens + lengths[static_cast<size_t>(row)], rank);
    dealt[rank].push_back(row);
  }
  return dealt;
}

std::vector<int64_t> rows_for_rank(std::span<const int64_t> rows, std::span<const int64_t> lengths, int dp_rank,
                                   int dp_size) {
  return deal_rows(rows, lengths, dp_size)[static_cast<size_t>(dp_rank)];
}

MicroBatches micro_batches(std::span<const int64_t> rows, std::span<const int64_t> lengths, int64_t max_tokens,
                           bool packing) {
  MicroBatches batches;
  if (!packing) {
    for (const int64_t row : rows) batches.push_back({row});
    return batches;
  }
  Rooms rooms(std::max<size_t>(1, rows.size()));
  for (const int64_t row : by_length(rows, lengths)) {
    const int64_t length = lengths[static_cast<size_t>(row)];
    const size_t fitting = rooms.first_with(length);
    if (fitting == rooms.size()) {
      batches.emplace_back();
      rooms.open(max_tokens);
    }
    batches[fitting].push_back(row);
    rooms.take(fitting, length);
  }
  return batches;
}

std::vector<MicroBatches> deal_micro_batches(std::span<const int64_t> rows, std::span<const int64_t> lengths,
                                             int dp_size, const Packing& packing) {
  std::vector<MicroBatches> dealt;
  if (!packing.before_dealing) {
    for (const auto& mine : deal_rows(rows, lengths, dp_size))
      dealt.push_back(micro_batches(mine, lengths, packing.max_tokens, packing.on));
    return dealt;
  }
  const MicroBatches all = micro_batches(rows, lengths, packing.max_tokens, packing.on);
  std::vector<int64_t> numbers(all.size()), tokens;
  std::iota(numbers.begin(), numbers.end(), 0);
  for (const auto& batch : all) {
    tokens.push_back(0);
    for (const int64_t row : batch) tokens.back() += lengths[static_cast<size_t>(row)];
  }
  for (const auto& mine : deal_rows(numbers, tokens, dp_size)) {
    MicroBatches& batches = dealt.emplace_back();
    for (const int64_t number : mine) batches.push_back(all[static_cast<size_t>(number)]);
  }
  return dealt;
}

}  // namespace spt
