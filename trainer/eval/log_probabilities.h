#pragma once

#include <ATen/core/Tensor.h>

#include "trainer/model/causal_lm.h"

namespace spt {

// log p, natural logarithm, of the tokens `targets` (int64 [N]) behind the hidden states `rows` [N, C]: fp32 [N] on the
// CPU, the same on all tp ranks.
at::Tensor log_probabilities(CausalLm& model, const at::Tensor& rows, const at::Tensor& targets);

}  // namespace spt
