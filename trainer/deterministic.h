#pragma once

#include "trainer/model/causal_lm.h"

namespace spt {

// The model's products in tiles of a fixed shape from here on; logs what that costs: a pass over a text and one over
// single tokens, each measured both ways. All tp ranks make the same call.
void make_deterministic(CausalLm& model);

}  // namespace spt
