// What prepare refuses before it reads a record.
#pragma once

#include "data/prepare.h"

namespace spt {

// Throws BadInput.
void check_prepare(const PrepareConfig& config);

}  // namespace spt
