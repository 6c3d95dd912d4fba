// AdamW's update (Loshchilov & Hutter, arXiv 1711.05101) in one pass over memory: on the CPU, and by a kernel on CUDA.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace spt {

// Of one step, as fp32 has them.
struct AdamWNumbers {
  // `step` from 1.
  AdamWNumbers(double lr, double beta1, double beta2, double eps, double weight_decay, int64_t step);

  float keep;                         // 1 − lr · weight_decay
  float step_size;                    // lr / (1 − β1^step)
  float to_first, second, to_second;  // 1 − β1, β2, 1 − β2
  float root_scale;                   // 1 / √(1 − β2^step)
  float eps;
};

// m, v fp32 [n]; grad [n], fp32 or bf16; value [n], fp32, or bf16 with the lower half of its master in `lower`, int16
// [n] (split_master.h), which is undefined otherwise. All contiguous, on one device.
//
// Gradients are multiplied by `factor`, fp32, 0-dim, on that device: that of clipping. One that is not finite leaves
// everything as it is, so that a bad step is left out without a word from the host. The bits do not hang on how a
// tensor is cut into calls.
void adamw(const AdamWNumbers& numbers, const at::Tensor& factor, const at::Tensor& grad, const at::Tensor& m,
           const at::Tensor& v, const at::Tensor& value, const at::Tensor& lower);

}  // namespace spt
