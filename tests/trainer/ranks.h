// The job a trainer test runs in.
#pragma once

#include "dist/mesh.h"

namespace spt {

extern Runtime* test_runtime;  // set by main

}  // namespace spt
