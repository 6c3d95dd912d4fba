#include <c10/util/Exception.h>

#include "trainer/model/kernels/cuda_elementwise.h"

namespace spt::cuda {

Normed rms_norm_forward(const at::Tensor& /*x*/, const at::Tensor& /*weight*/, double /*eps*/) {
  TORCH_INTERNAL_ASSERT(false, "no GPU");
}

NormedSum add_rms_norm_forward(const at::Tensor& /*x*/, const at::Tensor& /*delta*/, const at::Tensor& /*weight*/,
                               double /*eps*/) {
  TORCH_INTERNAL_ASSERT(false, "no GPU");
}

at::Tensor rms_norm_backward(const at::Tensor& /*g*/, const at::Tensor& /*x*/, const at::Tensor& /*weight*/,
                             const at::Tensor& /*rstd*/, const at::Tensor& /*dweight*/, const at::Tensor& /*more*/) {
  TORCH_INTERNAL_ASSERT(false, "no GPU");
}

at::Tensor swiglu_forward(const at::Tensor& /*gate_up*/) {
  TORCH_INTERNAL_ASSERT(false, "no GPU");
}

at::Tensor swiglu_backward(const at::Tensor& /*g*/, const at::Tensor& /*gate_up*/) {
  TORCH_INTERNAL_ASSERT(false, "no GPU");
}

void rotate(const at::Tensor& /*x*/, const at::Tensor& /*cos*/, const at::Tensor& /*sin*/, bool /*inverse*/) {
  TORCH_INTERNAL_ASSERT(false, "no GPU");
}

SoftmaxSums softmax_sums(const at::Tensor& /*logits*/, const at::Tensor& /*labels*/, int64_t /*begin*/) {
  TORCH_INTERNAL_ASSERT(false, "no GPU");
}

void softmax_gradient(const at::Tensor& /*logits*/, const at::Tensor& /*labels*/, int64_t /*begin*/,
                      const at::Tensor& /*highest*/, const at::Tensor& /*sum*/, double /*scale*/) {
  TORCH_INTERNAL_ASSERT(false, "no GPU");
}

}  // namespace spt::cuda
