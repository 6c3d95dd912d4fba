// Starts what a sweep's points still need, several at a time, each an mpirun of its own, or inside a Slurm job a step
// of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "trainer/sweep_state.h"

namespace spt {

// Points at a time: sweep.yaml's `parallel`, or as many as the job's tasks or the cores that this process may use hold.
int64_t points_at_a_time(const SweepConfig& config);

// The words before `spt`'s arguments: mpirun or srun and its options, or sweep.yaml's `launcher`, and this program.
std::vector<std::string> launch_words(const SweepConfig& config);

// What of a sweep this process does: a job of a Slurm array does a part of it. For kPoint, `state` is of that point
// alone, and nothing but the point's folder is written. kFinish starts no point, and makes what is `after` again.
enum class SweepPart { kAll, kPrepare, kPoint, kFinish };

// `prepare`, then the steps of all points that are not done, then, when all are, `after`. Every change is on disk
// before the next one. A point that fails is left; the others go on. A stop (base/stop.h), or a step that ends with
// status 75, stops all: SIGUSR1 goes to every process, and kStopped is returned when they have saved. What a sweep that
// was killed left running is asked to save and waited for first.
//
// Returns kFailure where a point or a line of `after` failed. Throws BadInput or Failure where a line of `prepare`
// fails, with the end of its output; BadInput where a file that it would write is there and not its own.
ExitStatus run_sweep(const SweepConfig& config, SweepState& state, SweepPart part);

}  // namespace spt
