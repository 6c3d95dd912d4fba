#include "trainer/optim/split_master.h"

#include <ATen/TensorOperators.h>

namespace spt {

at::Tensor join_master(const at::Tensor& upper, const at::Tensor& lower) {
  return upper.view(at::kShort).to(at::kInt).mul_(1 << 16).add_(lower).view(at::kFloat);
}

void split_master(const at::Tensor& master, at::Tensor upper, at::Tensor lower) {
  constexpr int kNan = 0x7fc00000;  // whose lower half is zero: rounding must not carry a NaN into a number
  const at::Tensor bits = master.view(at::kInt).masked_fill(master.isnan(), kNan);
  const at::Tensor rounded = (bits + (1 << 15)).bitwise_right_shift_(16);  // arithmetic: keeps the sign
  lower.copy_(bits - rounded * (1 << 16));
  upper.view(at::kShort).copy_(rounded);
}

}  // namespace spt
