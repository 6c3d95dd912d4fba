// Collectives inside a differentiated function, in conjugate pairs (Shoeybi et al., arXiv 1909.08053, section 3).
// `tp` must outlive the backward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include "dist/communicator.h"

namespace spt {

at::Tensor copy_to(const at::Tensor& x, Communicator& tp);      // forward: identity; backward: all-reduce
at::Tensor reduce_from(const at::Tensor& x, Communicator& tp);  // forward: all-reduce (in place); backward: identity

// The pair for activations that are cut by rows over tp (sequence parallelism: Korthikanti et al., arXiv 2205.05198,
// section 4.2.2): each rank has ceil(rows / tp) of them, the last ones zeros behind the end.
//
// x [ceil(rows / tp), …] of each rank → all [rows, …]; backward: reduce-scatter.
at::Tensor gather_rows(const at::Tensor& x, int64_t rows, Communicator& tp);
// This rank's rows of the sum of all ranks' x [rows, …]; backward: all-gather.
at::Tensor scatter_rows(const at::Tensor& x, Communicator& tp);

}  // namespace spt
