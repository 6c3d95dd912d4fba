// Which rows a step trains on, as pure functions: no loader state, the same for every dp and tp.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spt {

struct SamplerConfig {
  int64_t examples = 0;  // rows of the corpus
  int64_t batch = 64;    // rows of a step; an epoch's last step takes what is left
  uint64_t seed = 1;
};

int64_t steps_per_epoch(const SamplerConfig& config);
// The rows of step `step` (from 0), in order: a permutation of the corpus for each epoch, by seed and epoch.
std::vector<int64_t> rows_for_step(int64_t step, const SamplerConfig& config);

// Deals the step's rows over dp so that ranks finish together: longest first, each to the rank with the fewest tokens
// so far. Every row goes to exactly one rank; a rank may get none. The rows of each rank.
std::vector<std::vector<int64_t>> deal_rows(std::span<const int64_t> rows, std::span<const int64_t> lengths,
                                            int dp_size);
std::vector<int64_t> rows_for_rank(std::span<const int64_t> rows, std::span<const int64_t> lengths, int dp_rank,
                                   int dp_size);

using MicroBatches = std::vector<std::vector<int64_t>>;  // rows of each

// Cuts rows into micro-batches of at most `max_tokens` tokens (a single longer row is a micro-batch of its own),
// first-fit decreasing; with packing off each row is one.
MicroBatches micro_batches(std::span<const int64_t> rows, std::span<const int64_t> lengths, int64_t max_tokens,
                           bool packing);

struct Packing {
  int64_t max_tokens = 0;
  bool on = true;
  bool before_dealing = false;
};
// The micro-batches of a step, by dp rank. Rows are dealt and each rank packs its own, which evens out the ranks'
// tokens; or they are packed and micro-batches are dealt, so that which rows are together does not hang on dp.
std::vector<MicroBatches> deal_micro_batches(std::span<const int64_t> rows, std::span<const int64_t> lengths,
                                             int dp_size, const Packing& packing);

}  // namespace spt
