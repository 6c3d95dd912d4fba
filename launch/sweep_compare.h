// The comparisons that a sweep asks for.
#pragma once

#include <string>

#include "trainer/sweep_state.h"

namespace spt {

// Compares, for each of sweep.yaml's `compare`, its evaluations and each setting of the grid, the seeds that both
// points have finished: DIR/compare/NAME_EVALUATION[_SETTING].txt and .json, which `state` then names. Returns what
// they say, which seeds are missing, and what `compare` refuses: one that cannot be made keeps no other back.
struct SweepComparisons {
  std::string text;
  bool some_refused = false;
};
SweepComparisons write_comparisons(const SweepConfig& config, SweepState& state);

}  // namespace spt
