#include "trainer/optim/zero_adamw.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "dist/exact_sum.h"
#include "trainer/optim/adamw.h"
#include "trainer/optim/split_master.h"

namespace spt {
namespace {

// Elements that are updated at once where they go to the host for it.
constexpr int64_t kMovedAtOnce = int64_t{1} << 23;
// Elements whose squares are added at once: ATen makes a copy of them in fp64.
constexpr int64_t kNormChunk = int64_t{1} << 20;

}  // namespace

void AdamWConfig::validate(std::vector<std::string>& errors) const {
  const auto require = [&](bool holds, const char* name, double value, const char* limit) {
    if (!holds) errors.push_back(fmt::format("{} is {}, must be {}", name, value, limit));
  };
  require(lr > 0, "lr", lr, "above 0");
  require(eps >= 1e-37, "eps", eps, "at least 1e-37 (fp32's smallest normal number is 1.2e-38)");
  require(weight_decay >= 0 && weight_decay <= 1000, "weight_decay", weight_decay, "0 to 1000");
  require(clip_norm >= 0, "clip_norm", clip_norm, "at least 0");
  if (betas.size() != 2) errors.push_back(fmt::format("betas has {} values, must have 2", betas.size()));
  for (const double beta : betas) require(beta >= 0 && beta < 1, "betas", beta, "at least 0 and below 1");
}

ZeroAdamW::ZeroAdamW(at::Tensor values, const std::vector<Bucket>& buckets, const std::vector<Segment>& segments,
                     AdamWConfig config, Communicator& dp, Communicator& world, bool exact_norm)
    : values_(std::move(values)),
      buckets_(buckets),
      config_(std::move(config)),
      dp_(dp),
      world_(world),
      exact_norm_(exact_norm) {
  int64_t length = 0;
  for (const Bucket& bucket : buckets_) {
    TORCH_INTERNAL_ASSERT(bucket.length() % dp.size() == 0);
    const Bucket part = bucket.part(dp.rank(), dp.size());
    owned_.push_back({part.begin, length, part.length()});
    length += part.length();
  }
  for (size_t i = 0; i < owned_.size(); ++i)
    for (const Segment& segment : segments) {
      const int64_t begin = std::max(segment.begin - owned_[i].begin, int64_t{0});
      const int64_t end = std::min(segment.end - owned_[i].begin, owned_[i].length);
      if (begin < end) segments_.push_back({i, begin, end - begin, segment.decay, segment.norm_weight});
    }
  gathers_.resize(buckets_.size());
  const at::TensorOptions home =
      values_.options().device(config_.offload == Offload::kCpu ? at::Device(at::kCPU) : values_.device());
  m_ = at::zeros({length}, home.dtype(at::kFloat));
  v_ = at::zeros({length}, home.dtype(at::kFloat));
  if (values_.scalar_type() != at::kFloat) lower_ = at::zeros({length}, home.dtype(at::kShort));
}

int64_t ZeroAdamW::step_bytes(int64_t owned) {
  return 8 * std::min(owned, kNormChunk);
}

at::Tensor ZeroAdamW::norm_of(const std::vector<at::Tensor>& grads) {
  at::Tensor squares = at::zeros({}, values_.options().dtype(at::kDouble));
  ExactSum exact;
  for (const OwnedSegment& segment : segments_) {
    const at::Tensor whole = grads[segment.bucket].narrow(0, segment.begin, segment.length);
    if (exact_norm_) {  // what is owned begins with a block
      const int64_t first = std::min(segment.length, (kExactBlock - segment.begin % kExactBlock) % kExactBlock);
      exact.add_squares(whole.narrow(0, 0, first), segment.norm_weight);
      exact.add_squares(whole.narrow(0, first, segment.length - first), segment.norm_weight);
      continue;
    }
    for (const at::Tensor& part : whole.split(kNormChunk))
      squares.add_(at::linalg_vector_norm(part, 2, std::nullopt, false, at::kDouble).square_(), segment.norm_weight);
  }
  if (exact_norm_) {
    const at::Tensor limbs = exact.limbs().to(values_.device());
    world_.all_reduce(limbs);
    return squares.fill_(std::sqrt(ExactSum::of(limbs.cpu())));
  }
  world_.all_reduce(squares);
  return squares.sqrt_();
}

at::Tensor ZeroAdamW::step(double lr, const std::vector<at::Tensor>& grads, const std::optional<at::Tensor>& loss) {
  at::NoGradGuard no_grad;
  finish_gathering();  // of a step before that this rank had nothing to compute for
  TORCH_INTERNAL_ASSERT(grads.size() == owned_.size());
  for (size_t i = 0; i < owned_.size(); ++i) TORCH_INTERNAL_ASSERT(grads[i].numel() == owned_[i].length);
  const at::Tensor norm = norm_of(grads);

  // As torch.nn.utils.clip_grad_norm_ scales gradients; NaN leaves the step out.
  at::Tensor factor = config_.clip_norm > 0 ? (config_.clip_norm / (norm + 1e-6)).clamp_max(1.0) : at::ones_like(norm);
  factor = at::where((loss ? norm + *loss : norm).isfinite(), factor, NAN).to(m_.device(), at::kFloat);

  ++steps_;
  auto segment = segments_.begin();
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    for (; segment != segments_.end() && segment->bucket == bucket; ++segment)
      update(*segment, grads[bucket], lr, factor);
    gathers_[bucket] = begin_gathering(bucket);
    advance_begun();
  }
  return norm;
}

void ZeroAdamW::update(const OwnedSegment& segment, const at::Tensor& grads, double lr, const at::Tensor& factor) {
  const Owned& owned = owned_[segment.bucket];
  const bool is_apart = m_.device() != values_.device();
  const AdamWNumbers numbers(lr, config_.betas[0], config_.betas[1], config_.eps,
                             segment.decay ? config_.weight_decay : 0.0, steps_);
  const int64_t chunk = is_apart ? kMovedAtOnce : segment.length;
  for (int64_t done = 0; done < segment.length; done += chunk) {
    const int64_t first = segment.begin + done, length = std::min(chunk, segment.length - done);
    const auto in_state = [&](const at::Tensor& x) { return x.defined() ? x.narrow(0, owned.at + first, length) : x; };
    const at::Tensor there = values_.narrow(0, owned.begin + first, length);
    const at::Tensor value = there.to(m_.device());  // the same where the state is not apart
    adamw(numbers, factor, grads.narrow(0, first, length).to(m_.device()), in_state(m_), in_state(v_), value,
          in_state(lower_));
    if (is_apart) at::Tensor(there).copy_(value);
  }
}

Begun ZeroAdamW::begin_gathering(size_t bucket) {
  return dp_.begin_all_gather(values_.narrow(0, buckets_[bucket].begin, buckets_[bucket].length()),
                              values_.narrow(0, owned_[bucket].begin, owned_[bucket].length));
}

void ZeroAdamW::finish_gathering() {
  for (Begun& gather : gathers_) gather.finish();
}

int64_t ZeroAdamW::in_values(int64_t at, int64_t length) const {
  for (const Owned& owned : owned_)
    if (at >= owned.at && at + length <= owned.at + owned.length) return owned.begin + at - owned.at;
  TORCH_INTERNAL_ASSERT(false, "a stretch of the state crosses buckets");
}

at::Tensor ZeroAdamW::state(AdamWState which, int64_t at, int64_t length) const {
  if (which == AdamWState::kFirstMoment) return m_.narrow(0, at, length);
  if (which == AdamWState::kSecondMoment) return v_.narrow(0, at, length);
  const at::Tensor value = values_.narrow(0, in_values(at, length), length).to(m_.device());
  return has_master() ? join_master(value, lower_.narrow(0, at, length)) : value;
}

void ZeroAdamW::set_state(AdamWState which, int64_t at, const at::Tensor& elements) {
  if (which == AdamWState::kMaster && has_master()) {
    const int64_t length = elements.numel();
    const at::Tensor value = at::empty({length}, m_.options().dtype(values_.scalar_type()));
    split_master(elements.to(m_.device()), value, lower_.narrow(0, at, length));
    values_.narrow(0, in_values(at, length), length).copy_(value);
  } else if (which == AdamWState::kMaster) {
    values_.narrow(0, in_values(at, elements.numel()), elements.numel()).copy_(elements);
  } else {
    state(which, at, elements.numel()).copy_(elements);
  }
}

void ZeroAdamW::reset_master() {
  if (has_master()) lower_.zero_();
}

void ZeroAdamW::restored(int64_t steps) {
  steps_ = steps;
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) begin_gathering(bucket).finish();
}

}  // namespace spt
