#include "trainer/model/kernels/factor.h"

namespace spt {
namespace {

bool cpu_has_bf16_products() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return true;  // whatever ATen does there
#endif
}

}  // namespace

bool multiplies_in_fp32(at::ScalarType dtype, at::Device device) {
  static const bool kHas = cpu_has_bf16_products();
  return dtype == at::kBFloat16 && device.is_cpu() && !kHas;
}

at::Tensor factor(const at::Tensor& x) {
  return multiplies_in_fp32(x.scalar_type(), x.device()) ? x.to(at::kFloat) : x;
}

}  // namespace spt
