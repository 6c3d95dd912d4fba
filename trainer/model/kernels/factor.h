// bf16 on CPUs that have no instructions for it.
#pragma once

#include <ATen/core/Tensor.h>

namespace spt {

// Whether matrix products of this dtype and device are made in fp32: bf16 on a CPU without AVX-512 BF16, where ATen's
// own take about six times as long as fp32's.
bool multiplies_in_fp32(at::ScalarType dtype, at::Device device);

// Rows of a product from which on it pays to make its other factor fp32.
inline constexpr int64_t kWorthWidening = 8;

// x as a factor of a product: in fp32 where it multiplies so, else itself. Products of two are of the factors' dtype.
at::Tensor factor(const at::Tensor& x);

}  // namespace spt
