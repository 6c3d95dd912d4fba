// A Llama or Mistral decoder, cut over a tp group.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "data/dataset.h"
#include "dist/communicator.h"
#include "trainer/model/attention.h"
#include "trainer/model/model_config.h"
#include "trainer/model/parameters.h"

namespace spt {

enum class Recompute { kNone, kAttention, kBlock };
inline std::vector<std::pair<std::string, Recompute>> enum_names(Recompute) {
  return {{"none", Recompute::kNone}, {"attention", Recompute::kAttention}, {"block", Recompute::kBlock}};
}

class CausalLm {
 public:
  // Declares the parameters of rank tp_rank of tp_size; no memory yet. Throws BadInput when tp does not fit the model.
  CausalLm(const ModelConfig& config, int tp_rank, int tp_size);

  // Binds the model to its group and device. `tp` must outlive the model.
  struct Memory {
    Parameters::Memory parameters;
    Recompute recompute = Recompute::kNone;
    bool sequence_parallel = true;  // in loss_sum, norms and residuals are cut by token over tp
  };
  void allocate(Communicator& tp, const Memory& memory);

  // Calls f(bucket) in backward passes when a bucket's gradients of the pass are complete: the last bucket's first,
  // that of the embedding (the first) never, since a pass ends with it.
  void on_bucket_complete(std::function<void(size_t)> f) { bucket_complete_ = std::move(f); }

  // Calls f(bucket) before a bucket's weights are used, the first bucket's first.
  void on_bucket_needed(std::function<void(size_t)> f) { bucket_needed_ = std::move(f); }

  // Without gradients: the bits of a row hang neither on the rows beside it nor on the number of threads.
  void set_batch_invariant(bool on) { batch_invariant_ = on; }

  // How loss_sum attends, where the model is in bf16 on a GPU: flash (as long as nothing is said) or cudnn. Throws
  // BadInput where cuDNN cannot.
  void set_attention(AttentionWay way);
  // Both ways on micro-batches of this shape; nothing where there is no choice. Waits for the GPU.
  std::optional<WaysCompared> compare_attention(const at::Tensor& starts) const;

  int64_t global_parameters() const;  // of the whole model, over all tp ranks
  const ModelConfig& config() const { return config_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }

  // Σ −log p over the batch's trained tokens: an fp64 scalar on the device, the same on every rank of tp. With
  // gradients (grad mode on) call `backward(loss, scale)` with the same scale, once. REQUIRES: the batch has a trained
  // token.
  at::Tensor loss_sum(const Batch& batch, double grad_scale = 1.0);

  // Hidden states after the last block, [T, C]; ids int64 [T] and starts int32 [n+1] on any device. With caches,
  // example i continues caches[i], which grows.
  at::Tensor hidden(const at::Tensor& ids, const at::Tensor& starts, std::span<KvCache* const> caches = {});
  // The same for examples that branch, end to end, each behind the tokens of `shared`, which stays as it is: [T, C].
  at::Tensor hidden(const at::Tensor& ids, const std::vector<Branches>& examples, KvCache* shared = nullptr);
  // Final norm and vocabulary product of rows of `hidden`: [N, C] → fp32 [N, vocab], whole on every rank. For
  // generation and tests: training never builds it.
  at::Tensor logits(const at::Tensor& hidden_rows);

  KvCache make_cache() const;
  int64_t cache_bytes_per_token() const;  // on this rank

 private:
  struct Layer {
    Parameter *attention_norm, *qkv, *attention_out, *mlp_norm, *gate_up, *down;
  };

  Layout layout_of(const at::Tensor& starts, std::span<KvCache* const> caches) const;
  at::Tensor hidden(const at::Tensor& ids, const Layout& layout, std::span<KvCache* const> caches);
  at::Tensor mixed(const Layer& layer, const at::Tensor& x, const Layout& layout, std::span<KvCache* const> caches,
                   int64_t index);  // what the heads of this rank take from the tokens in front
  at::Tensor block(const Layer& layer, const at::Tensor& x, const Layout& layout, std::span<KvCache* const> caches,
                   int64_t index);
  // Between blocks, activations are whole on every rank of tp or, where the layout is cut, each rank has some rows.
  at::Tensor norm(const at::Tensor& x, Parameter& weight, const Layout& layout) const;
  Communicator* rows_over(const Layout& layout) const;  // the group of which a rank has some rows only; null: none
  at::Tensor all_rows(const at::Tensor& x, const Layout& layout) const;      // in front of a cut product
  at::Tensor sum_of_ranks(const at::Tensor& x, const Layout& layout) const;  // behind it
  bool recomputes(Recompute what, const at::Tensor& x) const;
  at::Tensor product(const at::Tensor& x, Parameter& weight) const;  // linear, or batch_invariant_mm

  ModelConfig config_;
  HeadShape heads_;  // of this rank
  Parameters parameters_;
  Parameter* embedding_ = nullptr;
  Parameter* head_ = nullptr;  // the same as embedding_ when tied
  Parameter* final_norm_ = nullptr;
  std::vector<Layer> layers_;
  Recompute recompute_ = Recompute::kNone;
  bool sequence_parallel_ = true;
  AttentionWay way_ = AttentionWay::kFlash;
  std::function<void(size_t)> bucket_complete_, bucket_needed_;
  bool batch_invariant_ = false;
  Communicator* tp_ = nullptr;
  std::vector<Rotary> rotary_;  // one, once the device is known
};

// Runs the backward pass of loss_sum's result.
void backward(const at::Tensor& loss, double grad_scale);

}  // namespace spt
