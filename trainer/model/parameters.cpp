#include "trainer/model/parameters.h"

#include <ATen/ops/zeros.h>

namespace spt {
namespace {

// 64 bytes of the smallest dtype: what vectorised products like.
constexpr int64_t kAlignment = 32;

int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

int64_t Parameter::numel() const {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

int64_t Parameter::shard_offset(size_t i) const {
  int64_t offset_in_parameter = 0;
  for (size_t j = 0; j < i; ++j) offset_in_parameter += shards[j].numel();
  return offset_in_parameter;
}

at::Tensor Parameter::part(size_t i, const at::Tensor& whole) const {
  return whole.flatten().narrow(0, shard_offset(i), shards[i].numel()).view(shards[i].local());
}

Parameter& Parameters::add(std::vector<Shard> shards, std::vector<int64_t> shape) {
  TORCH_INTERNAL_ASSERT(!values_.defined(), "parameters are declared before they are allocated");
  Parameter& parameter = list_.emplace_back();
  parameter.shards = std::move(shards);
  parameter.shape = std::move(shape);
  parameter.offset = end_;
  end_ += round_up(parameter.numel(), kAlignment);
  return parameter;
}

void Parameters::allocate(at::Device device, at::ScalarType dtype, bool with_gradients, int64_t multiple) {
  const int64_t length = round_up(end_, multiple);
  values_ = at::zeros({length}, at::TensorOptions(device).dtype(dtype));
  if (with_gradients) grads_ = at::zeros({length}, at::TensorOptions(device).dtype(at::kFloat));
  for (Parameter& parameter : list_) {
    parameter.value = values_.narrow(0, parameter.offset, parameter.numel()).view(parameter.shape);
    if (!with_gradients) continue;
    parameter.grad = grads_.narrow(0, parameter.offset, parameter.numel()).view(parameter.shape);
    // So that autograd records the operations of this parameter; they add to `grad` themselves.
    parameter.value.requires_grad_(true);
  }
}

int64_t Parameters::numel() const {
  int64_t n = 0;
  for (const Parameter& parameter : list_)
    for (const Shard& shard : parameter.shards) n += shard.numel();
  return n;
}

}  // namespace spt
