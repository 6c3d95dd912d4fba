// What a step trains on: this rank's micro-batches, and what all ranks know of the others' without asking.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"
#include "data/sampler.h"
#include "trainer/run_config.h"

namespace spt {

struct StepRows {
  std::vector<Batch> batches;              // this rank's
  std::vector<std::vector<int64_t>> rows;  // of each of them, in the corpus
  int64_t most_passes = 0;                 // micro-batches of the rank with most
  int64_t tokens = 0;                      // over all ranks
  double mean_length = 0;                  // Σ length² / Σ length over its examples, of all ranks

  int64_t trained_tokens() const;  // of this rank
};

// Reads those of a step (from 0) for this place of `dp` ranks. Throws as Dataset::batch.
StepRows load_step_rows(int64_t step, const RunConfig& config, const Dataset& corpus, const SamplerConfig& sampler,
                        int dp_rank, int dp_size);

}  // namespace spt
