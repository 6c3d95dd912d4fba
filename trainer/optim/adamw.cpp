#include "trainer/optim/adamw.h"

#include <cmath>

#include <ATen/Parallel.h>

#include "trainer/optim/adamw_loop.h"
#include "trainer/optim/cuda_adamw.h"

namespace spt {

AdamWNumbers::AdamWNumbers(double lr, double beta1, double beta2, double eps_in, double weight_decay, int64_t step)
    : keep(static_cast<float>(1 - lr * weight_decay)),
      step_size(static_cast<float>(lr / (1 - std::pow(beta1, static_cast<double>(step))))),
      to_first(static_cast<float>(1 - beta1)),
      second(static_cast<float>(beta2)),
      to_second(static_cast<float>(1 - beta2)),
      root_scale(static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, static_cast<double>(step))))),
      eps(static_cast<float>(eps_in)) {}

void adamw(const AdamWNumbers& numbers, const at::Tensor& factor, const at::Tensor& grad, const at::Tensor& m,
           const at::Tensor& v, const at::Tensor& value, const at::Tensor& lower) {
  const bool is_split = value.scalar_type() == at::kBFloat16;
  TORCH_INTERNAL_ASSERT(factor.scalar_type() == at::kFloat && factor.numel() == 1 && m.scalar_type() == at::kFloat &&
                        v.scalar_type() == at::kFloat && lower.defined() == is_split);
  TORCH_INTERNAL_ASSERT(is_split ? lower.scalar_type() == at::kShort : value.scalar_type() == at::kFloat);
  TORCH_INTERNAL_ASSERT(grad.scalar_type() == at::kFloat || grad.scalar_type() == at::kBFloat16);
  for (const at::Tensor& x : {grad, m, v, value, lower})
    TORCH_INTERNAL_ASSERT(!x.defined() || (x.is_contiguous() && x.numel() == m.numel() && x.device() == m.device()));
  const AdamWMemory memory{grad.const_data_ptr(),
                           m.mutable_data_ptr<float>(),
                           v.mutable_data_ptr<float>(),
                           value.mutable_data_ptr(),
                           is_split ? lower.mutable_data_ptr<int16_t>() : nullptr,
                           grad.scalar_type() == at::kBFloat16};
  if (m.is_cuda()) return cuda::adamw(numbers, factor, memory, m.numel(), m.device());
  const float by = *factor.const_data_ptr<float>();
  if (!std::isfinite(by)) return;
  constexpr int64_t kGrain = int64_t{1} << 15;  // elements that are worth a thread
  at::parallel_for(0, m.numel(), kGrain,
                   [&](int64_t begin, int64_t end) { adamw_loop(numbers, by, memory, begin, end); });
}

}  // namespace spt
