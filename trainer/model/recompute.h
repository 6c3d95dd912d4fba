// Activation recomputation (Chen et al., arXiv 1604.06174): a block keeps its input only, and runs again in the
// backward pass.
#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

namespace spt {

// block(x), with `block`'s inner results dropped until the backward pass. `block` must give the same result both times
// and add its parameters' gradients itself, as layers.h does.
at::Tensor recompute(const std::function<at::Tensor(const at::Tensor&)>& block, const at::Tensor& x);

}  // namespace spt
