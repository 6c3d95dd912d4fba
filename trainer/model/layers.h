// The differentiable pieces of a decoder layer. Each adds its parameter's gradient to Parameter::grad in its backward
// pass (one product with accumulation, no temporary), and returns the gradient of its input to autograd. Between their
// products collectives that were begun get on.
//
// T: tokens of a ragged batch; C: hidden size. All tensors have the model's dtype unless said otherwise.
#pragma once

#include <ATen/core/Tensor.h>

#include "dist/communicator.h"
#include "trainer/model/parameters.h"

namespace spt {

// [T, in] × weight [out, in] → [T, out]
at::Tensor linear(const at::Tensor& x, Parameter& weight);

// Root-mean-square norm (Zhang & Sennrich, arXiv 1910.07467), in fp32 inside: [T, C], weight [C] → [T, C]. With
// `rows_over` a rank of that group has a part of the rows only, and the weight's gradient is summed over it.
at::Tensor rms_norm(const at::Tensor& x, Parameter& weight, double eps, Communicator* rows_over = nullptr);

// x + delta and its norm, both [T, C], in one pass over memory each way.
struct SumAndNorm {
  at::Tensor sum, normed;
};
SumAndNorm add_rms_norm(const at::Tensor& x, const at::Tensor& delta, Parameter& weight, double eps,
                        Communicator* rows_over = nullptr);

// silu(gate) · up: [T, 2F] (gate first) → [T, F]
at::Tensor swiglu(const at::Tensor& gate_up);

// Vocabulary-parallel lookup: ids int64 [T], weight [rows, C] of which `begin` is the first id and `tp` > 1 ranks have
// parts → [T, C], zeros for ids of other ranks: the sum over tp is the embedding.
at::Tensor embedding(const at::Tensor& ids, Parameter& weight, int64_t begin, int tp);

}  // namespace spt
