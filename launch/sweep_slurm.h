// A sweep as jobs of Slurm.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainer/sweep_state.h"

namespace spt {

// Submits what is not done: a job of `prepare`, behind it an array with a task a point, and behind that, however its
// tasks end, a job that compares and does what is `after`. Each calls `slurm.script` with `file`, `overrides` and its
// part of the sweep. Returns a line a job. Throws BadInput with sbatch's message where it refuses one; Failure where
// there is no sbatch.
std::string submit_sweep(const SweepConfig& config, const SweepState& state, const std::filesystem::path& file,
                         const std::vector<std::string>& overrides);

}  // namespace spt
