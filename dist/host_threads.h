// How many threads each rank of a host may use.
#pragma once

#include <vector>

#include <sched.h>

namespace spt {

// `masks`: the cores that each rank of one host may run on (sched_getaffinity). A rank's share of its cores, at least
// 1: ranks whose masks overlap share, ranks bound to cores of their own do not.
int threads_of_rank(const std::vector<cpu_set_t>& masks, int local_rank);

}  // namespace spt
