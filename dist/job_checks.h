// What a job finds around it (spt doctor): MPI, places of its ranks, GPUs, the way between them.
#pragma once

#include <vector>

#include "base/finding.h"
#include "dist/runtime.h"

namespace spt {

// Collective; calls runtime.connect. The same on every rank: MPI, ranks and their cores, an all-reduce, clocks.
std::vector<Finding> check_job(Runtime& runtime);

// Of this host, for `ranks_here` ranks that share what this one sees.
std::vector<Finding> check_gpus(const Runtime& runtime, int ranks_here);

}  // namespace spt
