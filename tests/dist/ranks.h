// What the tests of dist_tests share: the job they run in. The program runs under mpirun at 1, 2, 3 and 4 ranks; every
// rank runs the same tests in the same order.
#pragma once

#include "dist/runtime.h"

namespace spt {

Runtime& job();

}  // namespace spt
