#include "trainer/model/parameters.h"

#include <algorithm>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
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

void Parameters::begin_bucket(bool transient) {
  TORCH_INTERNAL_ASSERT(!values_.defined(), "buckets are declared before they are allocated");
  declared_.push_back({list_.size(), transient});
}

Parameter& Parameters::add(std::vector<Shard> shards, std::vector<int64_t> shape) {
  TORCH_INTERNAL_ASSERT(!values_.defined() && !declared_.empty(), "parameters are declared before they are allocated");
  Parameter& parameter = list_.emplace_back();
  parameter.shards = std::move(shards);
  parameter.shape = std::move(shape);
  return parameter;
}

std::vector<int64_t> Parameters::bucket_lengths(int64_t multiple) const {
  std::vector<int64_t> lengths;
  for (size_t bucket = 0; bucket < declared_.size(); ++bucket) {
    int64_t length = 0;
    for (size_t i = declared_[bucket].first; i < end_of(bucket); ++i) length += round_up(list_[i].numel(), kAlignment);
    lengths.push_back(round_up(length, multiple));
  }
  return lengths;
}

Parameters::GradientRoom Parameters::gradient_room(const Memory& memory) const {
  const std::vector<int64_t> lengths = bucket_lengths(memory.multiple);
  GradientRoom room;
  for (size_t bucket = 0; bucket < lengths.size(); ++bucket) {
    if (memory.shares(is_transient(bucket)))
      room.shared = std::max(room.shared, lengths[bucket]);
    else
      room.kept += lengths[bucket];
  }
  return room;
}

Parameters::Bytes Parameters::bytes(const Memory& memory) const {
  const std::vector<int64_t> lengths = bucket_lengths(memory.multiple);
  Bytes bytes;
  bytes.values = std::accumulate(lengths.begin(), lengths.end(), int64_t{0}) *
                 static_cast<int64_t>(c10::elementSize(memory.dtype));
  if (memory.grad_dtype) {
    const GradientRoom room = gradient_room(memory);
    bytes.grads =
        (room.kept + memory.gradient_rooms * room.shared) * static_cast<int64_t>(c10::elementSize(*memory.grad_dtype));
  }
  return bytes;
}

void Parameters::allocate(at::Device device, const Memory& memory) {
  memory_ = memory;
  const std::vector<int64_t> lengths = bucket_lengths(memory.multiple);
  int64_t end = 0;
  for (size_t bucket = 0; bucket < declared_.size(); ++bucket) {
    const int64_t begin = end;
    for (size_t i = declared_[bucket].first; i < end_of(bucket); ++i) {
      list_[i].offset = end;
      end += round_up(list_[i].numel(), kAlignment);
    }
    end = begin + lengths[bucket];
    buckets_.push_back({begin, end});
  }
  values_ = at::zeros({end}, at::TensorOptions(device).dtype(memory.dtype));
  for (Parameter& parameter : list_)
    parameter.value = values_.narrow(0, parameter.offset, parameter.numel()).view(parameter.shape);
  if (memory.grad_dtype) allocate_gradients(gradient_room(memory));
}

void Parameters::allocate_gradients(const GradientRoom& room) {
  int64_t next = memory_.gradient_rooms * room.shared;
  const at::Tensor memory = at::zeros({next + room.kept}, values_.options().dtype(*memory_.grad_dtype));
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    const auto [begin, end] = buckets_[bucket];
    const bool keeps = keeps_gradients(bucket);
    const int64_t at = keeps ? next : static_cast<int64_t>(bucket) % memory_.gradient_rooms * room.shared;
    grads_.push_back(memory.narrow(0, at, end - begin));
    if (keeps) next += end - begin;
    for (size_t i = declared_[bucket].first; i < end_of(bucket); ++i) {
      Parameter& parameter = list_[i];
      parameter.grad = grads_[bucket].narrow(0, parameter.offset - begin, parameter.numel()).view(parameter.shape);
      // So that autograd records the operations of this parameter; they add to `grad` themselves.
      parameter.value.requires_grad_(true);
    }
  }
}

size_t Parameters::end_of(size_t bucket) const {
  return bucket + 1 < declared_.size() ? declared_[bucket + 1].first : list_.size();
}

int64_t Parameters::numel() const {
  int64_t n = 0;
  for (const Parameter& parameter : list_)
    for (const Shard& shard : parameter.shards) n += shard.numel();
  return n;
}

namespace {

// cuBLAS multiplies bf16 and adds to fp32 at once.
bool adds_wide(at::ScalarType product, at::ScalarType gradient, at::Device device) {
  return device.is_cuda() && product == at::kBFloat16 && gradient == at::kFloat;
}

}  // namespace

void add_product(at::Tensor gradient, const at::Tensor& a, const at::Tensor& b) {
  if (gradient.scalar_type() == a.scalar_type())
    gradient.addmm_(a, b);
  else if (adds_wide(a.scalar_type(), gradient.scalar_type(), gradient.device()))
    at::addmm_outf(gradient, a, b, at::kFloat, 1, 1, gradient);
  else
    gradient.add_(at::mm(a, b));
}

int64_t added_product_bytes(int64_t elements, at::ScalarType product, at::ScalarType gradient, at::Device device) {
  if (product == gradient || adds_wide(product, gradient, device)) return 0;
  // On the CPU ATen makes fp32 of what is not, the sum as well.
  const int64_t copies = device.is_cpu() ? 4 * (product == at::kFloat ? 2 : 1) : 0;
  return elements * (static_cast<int64_t>(c10::elementSize(product)) + copies);
}

}  // namespace spt
