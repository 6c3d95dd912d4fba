#include "trainer/model/causal_lm.h"

#include <algorithm>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "base/error.h"
#include "dist/differentiable.h"
#include "dist/to_device.h"
#include "trainer/model/after_backward.h"
#include "trainer/model/cross_entropy.h"
#include "trainer/model/kernels/batch_invariant_mm.h"
#include "trainer/model/layers.h"
#include "trainer/model/recompute.h"

namespace spt {
namespace {

// Rows [begin, end) of dim 0, or of dim 1, in equal parts.
Shard cut(std::string name, std::vector<int64_t> global, int64_t dim, int tp_rank, int tp_size) {
  const int64_t part = global[static_cast<size_t>(dim)] / tp_size;
  return {std::move(name), std::move(global), dim, tp_rank * part, (tp_rank + 1) * part};
}

// The vocabulary need not be a multiple of tp: every rank holds ceil(V / tp) rows, the last ones fewer valid ones.
Shard cut_vocabulary(std::string name, int64_t vocab, int64_t width, int tp_rank, int tp_size) {
  const int64_t part = (vocab + tp_size - 1) / tp_size;
  return {std::move(name), {vocab, width}, 0, std::min(vocab, tp_rank * part), std::min(vocab, (tp_rank + 1) * part)};
}

Shard whole(std::string name, std::vector<int64_t> global) {
  return {std::move(name), std::move(global)};
}

int64_t valid_rows(const Parameter& parameter) {
  return parameter.shards[0].end - parameter.shards[0].begin;
}

}  // namespace

CausalLm::CausalLm(const ModelConfig& config, int tp_rank, int tp_size) : config_(config) {
  check_tensor_parallel(config, tp_size);
  heads_ = {config.heads / tp_size, config.kv_heads / tp_size, config.head_dim, config.sliding_window};
  const int64_t width = config.hidden_size;
  const int64_t vocab_rows = (config.vocab_size + tp_size - 1) / tp_size;
  const int64_t q = config.heads * config.head_dim, kv = config.kv_heads * config.head_dim,
                mlp = config.intermediate_size;
  parameters_.begin_bucket(false);
  embedding_ = &parameters_.add(
      {cut_vocabulary("model.embed_tokens.weight", config.vocab_size, width, tp_rank, tp_size)}, {vocab_rows, width});
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    const auto rows = [&](const char* name, int64_t out) {
      return cut(prefix + name + ".weight", {out, width}, 0, tp_rank, tp_size);
    };
    const auto columns = [&](const char* name, int64_t in) {
      return cut(prefix + name + ".weight", {width, in}, 1, tp_rank, tp_size);
    };
    Layer layer;
    parameters_.begin_bucket(true);
    layer.attention_norm = &parameters_.add({whole(prefix + "input_layernorm.weight", {width})}, {width});
    layer.qkv =
        &parameters_.add({rows("self_attn.q_proj", q), rows("self_attn.k_proj", kv), rows("self_attn.v_proj", kv)},
                         {(q + 2 * kv) / tp_size, width});
    layer.attention_out = &parameters_.add({columns("self_attn.o_proj", q)}, {width, q / tp_size});
    layer.mlp_norm = &parameters_.add({whole(prefix + "post_attention_layernorm.weight", {width})}, {width});
    layer.gate_up =
        &parameters_.add({rows("mlp.gate_proj", mlp), rows("mlp.up_proj", mlp)}, {2 * mlp / tp_size, width});
    layer.down = &parameters_.add({columns("mlp.down_proj", mlp)}, {width, mlp / tp_size});
    layers_.push_back(layer);
  }
  parameters_.begin_bucket(false);
  final_norm_ = &parameters_.add({whole("model.norm.weight", {width})}, {width});
  head_ = config.tied_embeddings
              ? embedding_
              : &parameters_.add({cut_vocabulary("lm_head.weight", config.vocab_size, width, tp_rank, tp_size)},
                                 {vocab_rows, width});
}

void CausalLm::allocate(Communicator& tp, const Memory& memory) {
  tp_ = &tp;
  recompute_ = memory.recompute;
  sequence_parallel_ = memory.sequence_parallel;
  parameters_.allocate(tp.device(), memory.parameters);
  rotary_.emplace_back(config_, tp.device());
}

void CausalLm::set_attention(AttentionWay way) {
  const auto why_not = why_no_cudnn(tp_->device(), parameters_.values().scalar_type(), heads_.window);
  if (way == AttentionWay::kCudnn && why_not)
    throw BadInput("model.attention is cudnn, which " + *why_not + "; leave it at auto, or choose flash");
  way_ = way;
}

std::optional<WaysCompared> CausalLm::compare_attention(const at::Tensor& starts) const {
  const at::TensorOptions options = parameters_.values().options();
  if (why_no_cudnn(tp_->device(), parameters_.values().scalar_type(), heads_.window)) return std::nullopt;
  const Layout layout = layout_of(starts, {});
  const auto heads = [&](int64_t count) { return at::empty({layout.tokens(), count, heads_.head_dim}, options); };
  return compare_ways({heads(heads_.heads), heads(heads_.kv_heads), heads(heads_.kv_heads), layout.device_starts,
                       layout.longest, heads_.window},
                      config_.layers);
}

int64_t CausalLm::global_parameters() const {
  int64_t total = 0;
  for (const Parameter& parameter : parameters_.list())
    for (const Shard& shard : parameter.shards) total += c10::multiply_integers(shard.global);
  return total;
}

Layout CausalLm::layout_of(const at::Tensor& starts, std::span<KvCache* const> caches) const {
  Layout layout;
  const at::Tensor host = starts.to(at::kCPU, at::kLong).contiguous();
  layout.starts.assign(host.data_ptr<int64_t>(), host.data_ptr<int64_t>() + host.numel());
  layout.device_starts = to_device(starts.to(at::kInt), tp_->device());
  layout.one_thread_each = batch_invariant_ && tp_->device().is_cpu();
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < layout.examples(); ++i) {
    const int64_t past = caches.empty() ? 0 : caches[static_cast<size_t>(i)]->length;
    if (!caches.empty()) layout.past.push_back(past);
    layout.longest = std::max(layout.longest, layout.length(i));
    for (int64_t j = 0; j < layout.length(i); ++j) positions.push_back(past + j);
  }
  layout.angles = rotary_[0].at(to_device(at::tensor(positions, at::kLong), tp_->device()));
  return layout;
}

at::Tensor CausalLm::mixed(const Layer& layer, const at::Tensor& x, const Layout& layout,
                           std::span<KvCache* const> caches, int64_t index) {
  const at::Tensor qkv = product(all_rows(norm(x, *layer.attention_norm, layout), layout), *layer.qkv);
  if (!caches.empty()) return cached_attention(qkv, layout, heads_, caches, index);
  if (!layout.masks.empty()) return branched_attention(qkv, layout, heads_, index);
  return attention(qkv, layout, heads_);
}

at::Tensor CausalLm::block(const Layer& layer, const at::Tensor& x, const Layout& layout,
                           std::span<KvCache* const> caches, int64_t index) {
  const at::Tensor from_others =
      recomputes(Recompute::kAttention, x)
          ? recompute([this, &layer, layout](const at::Tensor& in) { return mixed(layer, in, layout, {}, 0); }, x)
          : mixed(layer, x, layout, caches, index);
  const auto [h, normed] = add_rms_norm(x, sum_of_ranks(product(from_others, *layer.attention_out), layout),
                                        *layer.mlp_norm, config_.rms_norm_eps, rows_over(layout));
  const at::Tensor gate_up = product(all_rows(normed, layout), *layer.gate_up);
  return h + sum_of_ranks(product(swiglu(gate_up), *layer.down), layout);
}

bool CausalLm::recomputes(Recompute what, const at::Tensor& x) const {
  return recompute_ == what && at::GradMode::is_enabled() && x.requires_grad();
}

at::Tensor CausalLm::norm(const at::Tensor& x, Parameter& weight, const Layout& layout) const {
  return rms_norm(x, weight, config_.rms_norm_eps, rows_over(layout));
}

Communicator* CausalLm::rows_over(const Layout& layout) const {
  return layout.is_cut ? tp_ : nullptr;
}

at::Tensor CausalLm::all_rows(const at::Tensor& x, const Layout& layout) const {
  return layout.is_cut ? gather_rows(x, layout.tokens(), *tp_) : copy_to(x, *tp_);
}

at::Tensor CausalLm::sum_of_ranks(const at::Tensor& x, const Layout& layout) const {
  return layout.is_cut ? scatter_rows(x, *tp_) : reduce_from(x, *tp_);
}

at::Tensor CausalLm::product(const at::Tensor& x, Parameter& weight) const {
  return batch_invariant_ ? batch_invariant_mm(x, weight.value) : linear(x, weight);
}

at::Tensor CausalLm::hidden(const at::Tensor& ids, const at::Tensor& starts, std::span<KvCache* const> caches) {
  const Layout layout = layout_of(starts, caches);
  for (size_t i = 0; i < caches.size(); ++i)
    caches[i]->reserve(caches[i]->length + layout.length(static_cast<int64_t>(i)));
  at::Tensor x = hidden(ids, layout, caches);
  for (size_t i = 0; i < caches.size(); ++i) caches[i]->length += layout.length(static_cast<int64_t>(i));
  return x;
}

at::Tensor CausalLm::hidden(const at::Tensor& ids, const std::vector<Branches>& examples, KvCache* shared) {
  const int64_t past = shared ? shared->length : 0;
  Layout layout;
  layout.shared = shared;
  layout.one_thread_each = batch_invariant_ && tp_->device().is_cpu();
  layout.starts = {0};
  std::vector<int64_t> positions;
  for (const Branches& example : examples) {
    const std::vector<int64_t> more = example.positions(past);
    positions.insert(positions.end(), more.begin(), more.end());
    layout.starts.push_back(static_cast<int64_t>(positions.size()));
    layout.masks.push_back(example.mask(past, config_.sliding_window, parameters_.values().options()));
  }
  layout.angles = rotary_[0].at(at::tensor(positions, at::kLong).to(tp_->device()));
  return hidden(ids, layout, {});
}

at::Tensor CausalLm::hidden(const at::Tensor& ids, const Layout& layout, std::span<KvCache* const> caches) {
  const auto need = [this](size_t bucket) {
    if (bucket_needed_) bucket_needed_(bucket);
  };
  need(0);
  at::Tensor x = sum_of_ranks(
      embedding(to_device(ids, tp_->device()), *embedding_, embedding_->shards[0].begin, tp_->size()), layout);
  const bool again = recomputes(Recompute::kBlock, x);
  TORCH_INTERNAL_ASSERT(bucket_complete_ || !at::GradMode::is_enabled() || parameters_.keeps_gradients(1),
                        "blocks share the memory of their gradients, which nobody takes away");
  const bool watched = bucket_complete_ && at::GradMode::is_enabled() && x.requires_grad();
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    need(i + 1);  // block i is bucket i + 1
    if (watched) x = after_backward(x, bucket_complete_, i + 1);
    if (again)
      x = recompute([this, &layer, layout](const at::Tensor& in) { return block(layer, in, layout, {}, 0); }, x);
    else
      x = block(layer, x, layout, caches, static_cast<int64_t>(i));
  }
  need(layers_.size() + 1);
  return watched ? after_backward(x, bucket_complete_, layers_.size() + 1) : x;
}

at::Tensor CausalLm::loss_sum(const Batch& batch, double grad_scale) {
  // Looked for on the host, where nobody waits for the answer.
  const at::Tensor asked = batch.labels.ne(kNotTrained).nonzero().squeeze(1);
  TORCH_INTERNAL_ASSERT(asked.numel() > 0, "a batch without a trained token has no loss");
  const at::Tensor trained = to_device(asked, tp_->device());
  Layout layout = layout_of(batch.starts, {});
  layout.is_cut = sequence_parallel_ && tp_->size() > 1;
  layout.way = way_;
  at::Tensor x = hidden(batch.ids, layout, {});
  if (!layout.is_cut) x = x.index_select(0, trained);
  x = all_rows(norm(x, *final_norm_, layout), layout);
  if (layout.is_cut) x = x.index_select(0, trained);
  return cross_entropy_sum(x, to_device(batch.labels.index_select(0, asked), tp_->device()), *head_,
                           head_->shards[0].begin, valid_rows(*head_), grad_scale, *tp_);
}

at::Tensor CausalLm::logits(const at::Tensor& hidden_rows) {
  at::NoGradGuard no_grad;
  const at::Tensor normed = rms_norm(hidden_rows, *final_norm_, config_.rms_norm_eps);
  const at::Tensor mine = product(normed, *head_).to(at::kFloat);  // [N, rows]
  if (tp_->size() == 1) return mine.narrow(1, 0, config_.vocab_size);
  const at::Tensor part = mine.t().contiguous();
  at::Tensor all = at::empty({part.size(0) * tp_->size(), part.size(1)}, part.options());
  tp_->all_gather(all, part);
  return all.narrow(0, 0, config_.vocab_size).t().contiguous();
}

KvCache CausalLm::make_cache() const {
  return KvCache(config_.layers, heads_, parameters_.values().options());
}

int64_t CausalLm::cache_bytes_per_token() const {
  return 2 * config_.layers * heads_.kv_heads * heads_.head_dim *
         static_cast<int64_t>(parameters_.values().element_size());
}

void backward(const at::Tensor& loss, double grad_scale) {
  torch::autograd::backward({loss}, {at::full_like(loss, grad_scale)});
}

}  // namespace spt
