// The vocabulary product and its loss in one, chunk by chunk: the [T, vocab] matrix never exists. Vocabulary-parallel
// over tp (Shoeybi et al., arXiv 1909.08053, section 3).
#pragma once

#include <ATen/core/Tensor.h>

#include "dist/communicator.h"
#include "trainer/model/parameters.h"

namespace spt {

// hidden [N, C], labels int64 [N] (global ids), weight [rows, C] of which the first `valid` rows are the ids from
// `begin` → Σ −log p(label), an fp64 scalar, the same on every rank of tp. With gradients the forward pass also adds
// `grad_scale` times the weight's gradient to weight.grad and keeps that of `hidden`, so a backward pass must start
// from this scalar, times `grad_scale`, once.
at::Tensor cross_entropy_sum(const at::Tensor& hidden, const at::Tensor& labels, Parameter& weight, int64_t begin,
                             int64_t valid, double grad_scale, Communicator& tp);

// What cross_entropy_sum takes for n rows with gradients, beside its arguments and the gradient of `hidden`: bytes.
int64_t cross_entropy_bytes(int64_t n, int64_t weight_rows, int64_t width, at::ScalarType dtype, at::Device device,
                            at::ScalarType grad_dtype);

}  // namespace spt
