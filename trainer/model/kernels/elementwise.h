// The element-wise chains of a decoder layer on tensors, each in one pass over memory: rows.h on the CPU, kernels of
// ours on CUDA. fp32 or bf16 in and out, fp32 inside. T: tokens, C: hidden size, F: MLP width.
#pragma once

#include <ATen/core/Tensor.h>

namespace spt {

struct Normed {
  at::Tensor out;   // [T, C]
  at::Tensor rstd;  // fp32 [T, 1]: 1/√(mean(x²) + eps)
};
Normed rms_norm_forward(const at::Tensor& x, const at::Tensor& weight, double eps);

struct NormedSum {
  at::Tensor sum;  // [T, C]: x + delta, in their dtype
  Normed normed;   // the norm of `sum` as it was rounded
};
NormedSum add_rms_norm_forward(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps);

// Returns the gradient of x (that of `sum`) for upstream g [T, C], plus `more` [T, C] where that is given: what comes
// to x past the norm. Adds the weight's gradient to `dweight`, fp32 [C]; its bits hang on no order of execution.
at::Tensor rms_norm_backward(const at::Tensor& g, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                             const at::Tensor& dweight, const at::Tensor& more = {});

at::Tensor swiglu_forward(const at::Tensor& gate_up);                        // [T, 2F] → [T, F]
at::Tensor swiglu_backward(const at::Tensor& g, const at::Tensor& gate_up);  // → [T, 2F]

// x [T, heads, D], whose rows may lie apart, in place; cos and sin fp32 [T, D/2].
void rotate(at::Tensor x, const at::Tensor& cos, const at::Tensor& sin, bool inverse);

}  // namespace spt
