// The element-wise chains of a decoder layer on tensors: rows.h on the CPU (one pass over memory), ATen's operations on
// other devices. fp32 or bf16 in and out; inside, fp32 on the CPU, and elsewhere what ATen takes for the dtype (the
// norm's sum is fp32). T: tokens, C: hidden size, F: MLP width.
#pragma once

#include <ATen/core/Tensor.h>

namespace spt {

struct Normed {
  at::Tensor out;   // [T, C]
  at::Tensor rstd;  // fp32 [T, 1]: 1/√(mean(x²) + eps)
};
Normed rms_norm_forward(const at::Tensor& x, const at::Tensor& weight, double eps);
// Returns the gradient of x for upstream g [T, C]; adds the weight's to `dweight`, fp32 [C].
at::Tensor rms_norm_backward(const at::Tensor& g, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                             const at::Tensor& dweight);

at::Tensor swiglu_forward(const at::Tensor& gate_up);                        // [T, 2F] → [T, F]
at::Tensor swiglu_backward(const at::Tensor& g, const at::Tensor& gate_up);  // → [T, 2F]

// x [T, heads, D], whose rows may lie apart, in place; cos and sin fp32 [T, D/2].
void rotate(at::Tensor x, const at::Tensor& cos, const at::Tensor& sin, bool inverse);

}  // namespace spt
