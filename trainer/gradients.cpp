#include "trainer/gradients.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

namespace spt {

Gradients::Gradients(const Parameters& parameters, Communicator& dp, bool overlap)
    : parameters_(parameters), dp_(dp), overlap_(overlap), whole_begun_(parameters.buckets().size()) {
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
  is_sharded_ = longest > 0;
  for (size_t bucket = 1; overlap_ && bucket < owned_.size(); ++bucket)
    TORCH_INTERNAL_ASSERT(parameters.grads(bucket).data_ptr() != parameters.grads(bucket - 1).data_ptr(),
                          "gradients that are being reduced and those that are computed share memory");
  if (is_sharded_) received_ = at::empty({longest}, parameters.grads(0).options());
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
  if (!parameters_.keeps_gradients(bucket)) return reduce(bucket);
  // Sharded, the pass before may have left one under way, in memory that this pass adds to from here on. Nor is there a
  // pass that is the last for all ranks.
  if (is_sharded_) return finish_reduction();
  if (overlap_ && is_last_pass_) reduce(bucket);
}

void Gradients::skip_pass() {
  for (size_t bucket = owned_.size(); bucket-- > 0;)
    if (!parameters_.keeps_gradients(bucket)) reduce(bucket);
}

void Gradients::finish() {
  for (size_t bucket = whole_begun_; bucket-- > 0;)
    if (parameters_.keeps_gradients(bucket)) reduce(bucket);
  finish_reduction();
}

void Gradients::reduce(size_t bucket) {
  finish_reduction();
  const bool keeps = parameters_.keeps_gradients(bucket);
  const at::Tensor& owned = owned_[bucket];
  reduction_ =
      dp_.begin_reduce_scatter(keeps ? owned : received_.narrow(0, 0, owned.numel()), parameters_.grads(bucket));
  reducing_ = bucket;
  if (keeps) whole_begun_ = bucket;
  if (!overlap_) finish_reduction();
}

void Gradients::finish_reduction() {
  if (!reducing_) return;
  const size_t bucket = *reducing_;
  reduction_.finish();
  reducing_.reset();
  if (parameters_.keeps_gradients(bucket)) return;
  owned_[bucket].add_(received_.narrow(0, 0, owned_[bucket].numel()));
  at::Tensor(parameters_.grads(bucket)).zero_();  // another block adds to the same memory
}

void Gradients::clear() {
  whole_begun_ = owned_.size();
  for (size_t bucket = 0; bucket < owned_.size(); ++bucket) {
    if (parameters_.keeps_gradients(bucket))
      at::Tensor(parameters_.grads(bucket)).zero_();
    else
      owned_[bucket].zero_();
  }
}

}  // namespace spt
