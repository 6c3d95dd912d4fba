#include "trainer/gradients.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

namespace spt {

Gradients::Gradients(const Parameters& parameters, Communicator& dp) : parameters_(parameters), dp_(dp) {
  int64_t longest = 0;
  for (size_t bucket = 0; bucket < parameters.buckets().size(); ++bucket) {
    const at::Tensor& whole = parameters.grads(bucket);
    const Bucket mine = Bucket{0, whole.numel()}.part(dp.rank(), dp.size());
    const int64_t part = mine.length();
    if (parameters.keeps_gradients(bucket)) {
      owned_.push_back(whole.narrow(0, mine.begin, part));
    } else {
      owned_.push_back(at::zeros({part}, whole.options().dtype(at::kFloat)));
      longest = std::max(longest, part);
    }
  }
  if (longest > 0) received_ = at::empty({longest}, parameters.grads(0).options());
}

int64_t Gradients::bytes(const Parameters& parameters, const Parameters::Memory& memory, int dp) {
  int64_t sharded = 0, longest = 0;
  const std::vector<int64_t> lengths = parameters.bucket_lengths(memory.multiple);
  for (size_t bucket = 0; bucket < lengths.size(); ++bucket) {
    if (!memory.shares(parameters.is_transient(bucket))) continue;
    sharded += lengths[bucket] / dp;
    longest = std::max(longest, lengths[bucket] / dp);
  }
  return 4 * sharded + static_cast<int64_t>(c10::elementSize(*memory.grad_dtype)) * longest;
}

void Gradients::bucket_complete(size_t bucket) {
  if (!parameters_.keeps_gradients(bucket)) reduce(bucket);
}

void Gradients::skip_pass() {
  for (size_t bucket = owned_.size(); bucket-- > 0;) bucket_complete(bucket);
}

void Gradients::finish() {
  for (size_t bucket = 0; bucket < owned_.size(); ++bucket)
    if (parameters_.keeps_gradients(bucket)) dp_.reduce_scatter(owned_[bucket], parameters_.grads(bucket));
}

void Gradients::reduce(size_t bucket) {
  at::Tensor whole = parameters_.grads(bucket);
  const at::Tensor part = received_.narrow(0, 0, owned_[bucket].numel());
  dp_.reduce_scatter(part, whole);
  owned_[bucket].add_(part);
  whole.zero_();  // the next block adds to the same memory
}

void Gradients::clear() {
  for (size_t bucket = 0; bucket < owned_.size(); ++bucket) {
    if (parameters_.keeps_gradients(bucket))
      at::Tensor(parameters_.grads(bucket)).zero_();
    else
      owned_[bucket].zero_();
  }
}

}  // namespace spt
