#include "trainer/gradients.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/nan_to_num.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include "base/error.h"
#include "dist/exact_sum.h"

namespace spt {

Gradients::Gradients(const Parameters& parameters, Communicator& dp, bool overlap, bool exact)
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
  TORCH_INTERNAL_ASSERT(!exact || (!is_sharded_ && !overlap_), "exact sums are whole and reduced once a step");
  for (size_t bucket = 0; exact && bucket < owned_.size(); ++bucket)
    sums_.push_back(at::zeros_like(parameters.grads(bucket), at::kLong));
  if (exact) largest_ = at::zeros({}, parameters.grads(0).options().dtype(at::kFloat));
  if (is_sharded_) received_ = at::empty({longest}, parameters.grads(0).options());
}

int64_t Gradients::bytes(const Parameters& parameters, const Parameters::Memory& memory, int dp, bool exact) {
  int64_t sharded = 0, longest = 0;
  const std::vector<int64_t> lengths = parameters.bucket_lengths(memory.multiple);
  for (size_t bucket = 0; bucket < lengths.size(); ++bucket) {
    if (!memory.shares(parameters.is_transient(bucket))) continue;
    sharded += lengths[bucket] / dp;
    longest = std::max(longest, lengths[bucket] / dp);
  }
  const int64_t sums = exact ? 8 * std::accumulate(lengths.begin(), lengths.end(), int64_t{0}) : 0;
  return sums + 4 * sharded + static_cast<int64_t>(c10::elementSize(*memory.grad_dtype)) * longest;
}

void Gradients::bucket_complete(size_t bucket) {
  if (!parameters_.keeps_gradients(bucket)) return reduce(bucket);
  // Sharded, the pass before may have left one under way, in memory that this pass adds to from here on. Nor is there a
  // pass that is the last for all ranks.
  if (is_sharded_) return finish_reduction();
  if (overlap_ && is_last_pass_) reduce(bucket);
}

void Gradients::end_pass() {
  if (sums_.empty()) return;
  ++terms_;
  for (size_t bucket = 0; bucket < sums_.size(); ++bucket) {
    at::Tensor gradients = parameters_.grads(bucket);
    add_fixed_point(sums_[bucket], gradients, largest_);
    gradients.zero_();
  }
}

void Gradients::skip_pass() {
  for (size_t bucket = owned_.size(); bucket-- > 0;)
    if (!parameters_.keeps_gradients(bucket)) reduce(bucket);
}

void Gradients::finish_exact() {
  // A maximum over ranks need not keep a NaN.
  const at::Tensor largest = at::nan_to_num(largest_.to(at::kDouble), INFINITY, INFINITY);
  const at::Tensor terms = at::full({}, terms_, largest_.options().dtype(at::kLong));
  dp_.all_reduce(largest, Reduce::kMax);
  dp_.all_reduce(terms);
  const double most = largest.item<double>(), limit = largest_term(terms.item<int64_t>());
  if (std::isfinite(most) && most > limit)
    throw Failure(
        fmt::format("a gradient of a micro-batch is {}: run.reproducible adds up {} of them below {}; lower "
                    "optimizer.lr, or set run.reproducible=false in another run.dir",
                    most, terms.item<int64_t>(), limit));
  for (size_t bucket = sums_.size(); bucket-- > 0;) {
    const Bucket mine = Bucket{0, sums_[bucket].numel()}.part(dp_.rank(), dp_.size());
    at::Tensor sum = sums_[bucket].narrow(0, mine.begin, mine.length());
    dp_.reduce_scatter(sum, sums_[bucket]);
    from_fixed_point(owned_[bucket], sum);
    if (!std::isfinite(most)) owned_[bucket].fill_(NAN);
  }
}

void Gradients::finish() {
  if (!sums_.empty()) return finish_exact();
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
  for (at::Tensor& sum : sums_) sum.zero_();
  if (largest_.defined()) largest_.zero_();
  terms_ = 0;
  whole_begun_ = owned_.size();
  for (size_t bucket = 0; bucket < owned_.size(); ++bucket) {
    if (parameters_.keeps_gradients(bucket))
      at::Tensor(parameters_.grads(bucket)).zero_();
    else
      owned_[bucket].zero_();
  }
}

}  // namespace spt
