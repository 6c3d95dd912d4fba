// A matrix product each of whose rows has the same bits whatever rows stand beside it and however many threads there
// are. (A library's product chooses its blocking by shape and threads, and with it the order of its sums: He et al.,
// "Defeating Nondeterminism in LLM Inference", Thinking Machines Lab, 2025.)
#pragma once

#include <ATen/core/Tensor.h>

namespace spt {

// x [T, in] × weight [out, in] → [T, out], in tiles of a fixed shape, each by one thread. Not differentiable.
at::Tensor batch_invariant_mm(const at::Tensor& x, const at::Tensor& weight);

}  // namespace spt
