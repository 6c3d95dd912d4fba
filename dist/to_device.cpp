#include "dist/to_device.h"

#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

namespace spt {

at::Tensor to_device(const at::Tensor& x, at::Device device) {
  if (!x.is_cpu() || device.is_cpu()) return x.to(device);
  // The allocator of pinned memory keeps it until the copy is through.
  return x.pin_memory().to(device, /*non_blocking=*/true);
}

LateNumbers::LateNumbers(const at::Tensor& numbers) {
  TORCH_INTERNAL_ASSERT(numbers.scalar_type() == at::kDouble && numbers.dim() == 1);
  if (numbers.is_cpu()) {
    host_ = numbers.contiguous();
    return;
  }
  host_ = at::empty(numbers.sizes(), at::TensorOptions(at::kDouble).pinned_memory(true));
  host_.copy_(numbers, /*non_blocking=*/true);
  copied_ = std::make_shared<c10::Event>(numbers.device().type());
  copied_->record(c10::impl::VirtualGuardImpl(numbers.device().type()).getStream(numbers.device()));
}

std::vector<double> LateNumbers::read() const {
  if (copied_) copied_->synchronize();
  const double* first = host_.const_data_ptr<double>();
  return {first, first + host_.numel()};
}

}  // namespace spt
