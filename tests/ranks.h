// The job that the tests of a program run in (dist_tests, trainer_tests). The program runs under mpirun at several
// sizes, and alone; every rank runs the same tests in the same order.
#pragma once

#include "dist/mesh.h"

namespace spt {

Runtime& job();

}  // namespace spt
