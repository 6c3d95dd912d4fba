// Collectives inside a differentiated function, in conjugate pairs (Shoeybi et al., arXiv 1909.08053, section 3).
// `tp` must outlive the backward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include "dist/communicator.h"

namespace spt {

at::Tensor copy_to(const at::Tensor& x, Communicator& tp);      // forward: identity; backward: all-reduce
at::Tensor reduce_from(const at::Tensor& x, Communicator& tp);  // forward: all-reduce (in place); backward: identity

}  // namespace spt
