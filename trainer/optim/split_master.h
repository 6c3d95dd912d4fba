// An fp32 number as a bf16 number and what it lacks. The upper half is the number rounded half up (towards a larger
// magnitude) to bf16, the lower half a signed offset of 16 bits: bits = upper · 2¹⁶ + lower, exact for all numbers. A
// NaN stays one in both.
#pragma once

#include <ATen/core/Tensor.h>

namespace spt {

// bf16 [n], int16 [n] → fp32 [n]
at::Tensor join_master(const at::Tensor& upper, const at::Tensor& lower);

// fp32 [n] into bf16 [n] and int16 [n].
void split_master(const at::Tensor& master, at::Tensor upper, at::Tensor lower);

}  // namespace spt
