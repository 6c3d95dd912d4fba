#include "trainer/optim/zero_adamw.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

namespace spt {

void AdamWConfig::validate(std::vector<std::string>& errors) const {
  const auto require = [&](bool holds, const char* name, double value, const char* limit) {
    if (!holds) errors.push_back(fmt::format("{} is {}, must be {}", name, value, limit));
  };
  require(lr > 0, "lr", lr, "above 0");
  require(eps >= 1e-37, "eps", eps, "at least 1e-37 (fp32's smallest normal number is 1.2e-38)");
  require(weight_decay >= 0, "weight_decay", weight_decay, "at least 0");
  require(clip_norm >= 0, "clip_norm", clip_norm, "at least 0");
  if (betas.size() != 2) errors.push_back(fmt::format("betas has {} values, must have 2", betas.size()));
  for (const double beta : betas) require(beta >= 0 && beta < 1, "betas", beta, "at least 0 and below 1");
}

ZeroAdamW::ZeroAdamW(at::Tensor values, at::Tensor grads, const std::vector<Segment>& segments, AdamWConfig config,
                     Communicator& dp, Communicator& world)
    : values_(std::move(values)), grads_(std::move(grads)), config_(std::move(config)), dp_(dp), world_(world) {
  TORCH_INTERNAL_ASSERT(values_.numel() == grads_.numel() && values_.numel() % dp.size() == 0);
  length_ = values_.numel() / dp.size();
  begin_ = dp.rank() * length_;
  my_values_ = values_.narrow(0, begin_, length_);
  my_grads_ = grads_.narrow(0, begin_, length_);
  for (Segment segment : segments) {
    segment.begin = std::max(segment.begin, begin_) - begin_;
    segment.end = std::min(segment.end, begin_ + length_) - begin_;
    if (segment.begin < segment.end) segments_.push_back(segment);
  }
  master_ = values_.scalar_type() == at::kFloat ? my_values_ : my_values_.to(at::kFloat);
  m_ = at::zeros_like(my_grads_);
  v_ = at::zeros_like(my_grads_);
}

at::Tensor ZeroAdamW::step(double lr) {
  at::NoGradGuard no_grad;
  dp_.reduce_scatter(my_grads_, grads_);

  const auto part = [](const at::Tensor& x, const Segment& s) { return x.narrow(0, s.begin, s.end - s.begin); };
  at::Tensor norm = at::zeros({}, grads_.options().dtype(at::kDouble));
  for (const Segment& segment : segments_)
    norm.add_(at::linalg_vector_norm(part(my_grads_, segment), 2, std::nullopt, false, at::kDouble).square_(),
              segment.norm_weight);
  world_.all_reduce(norm);
  norm.sqrt_();

  // The fused kernel divides gradients by this: as torch.nn.utils.clip_grad_norm_ scales them.
  std::optional<at::Tensor> scale;
  if (config_.clip_norm > 0) scale = ((norm + 1e-6) / config_.clip_norm).clamp_min(1.0).to(at::kFloat);

  ++steps_;
  for (const bool decay : {true, false}) {
    std::vector<at::Tensor> values, grads, m, v, steps;
    for (const Segment& segment : segments_) {
      if (segment.decay != decay) continue;
      values.push_back(part(master_, segment));
      grads.push_back(part(my_grads_, segment));
      m.push_back(part(m_, segment));
      v.push_back(part(v_, segment));
      steps.push_back(at::full({}, static_cast<double>(steps_), grads_.options()));
    }
    if (!values.empty())
      at::_fused_adamw_(values, grads, m, v, {}, steps, lr, config_.betas[0], config_.betas[1],
                        decay ? config_.weight_decay : 0.0, config_.eps, false, false, scale);
  }
  gather_values();
  grads_.zero_();
  return norm;
}

void ZeroAdamW::gather_values() {
  if (has_master()) my_values_.copy_(master_);
  dp_.all_gather(values_, my_values_);
}

void ZeroAdamW::reset_master() {
  if (has_master()) master_.copy_(my_values_);
}

void ZeroAdamW::restored(int64_t steps) {
  steps_ = steps;
  gather_values();
}

}  // namespace spt
