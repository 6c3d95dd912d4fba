// The functions of elementwise.h and softmax_loss.h for CUDA tensors, started on their device's current stream. Only
// those call them; a build without CUDA has none (no_cuda_elementwise.cpp).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "trainer/model/kernels/elementwise.h"
#include "trainer/model/kernels/softmax_loss.h"

namespace spt::cuda {

Normed rms_norm_forward(const at::Tensor& x, const at::Tensor& weight, double eps);
NormedSum add_rms_norm_forward(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps);
at::Tensor rms_norm_backward(const at::Tensor& g, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                             const at::Tensor& dweight, const at::Tensor& more);

at::Tensor swiglu_forward(const at::Tensor& gate_up);
at::Tensor swiglu_backward(const at::Tensor& g, const at::Tensor& gate_up);

void rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse);

SoftmaxSums softmax_sums(const at::Tensor& logits, const at::Tensor& labels, int64_t begin);
void softmax_gradient(const at::Tensor& logits, const at::Tensor& labels, int64_t begin, const at::Tensor& highest,
                      const at::Tensor& sum, double scale);

}  // namespace spt::cuda
