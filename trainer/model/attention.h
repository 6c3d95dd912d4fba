// Causal attention over a ragged batch: no example sees another, no padding, an optional sliding window.
//
// T: tokens; H, K: query and key/value heads of this rank (K divides H); D: head dimension.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "trainer/model/rotary.h"

namespace spt {

// Where the tokens of a batch stand: computed once, used by every layer.
struct Layout {
  std::vector<int64_t> starts;  // [n+1], on the host
  at::Tensor device_starts;     // int32 [n+1]
  std::vector<int64_t> past;    // [n]: cached tokens in front of each example; empty in training
  int64_t longest = 0;          // tokens of the longest example
  Rotary::Angles angles;

  int64_t examples() const { return static_cast<int64_t>(starts.size()) - 1; }
  int64_t length(int64_t i) const { return starts[static_cast<size_t>(i) + 1] - starts[static_cast<size_t>(i)]; }
};

struct HeadShape {
  int64_t heads, kv_heads, head_dim;
  std::optional<int64_t> window;
};

// Keys and values of the tokens seen so far, for generation. One row a sequence.
class KvCache {
 public:
  KvCache(int64_t layers, int64_t row_count, int64_t capacity, const HeadShape& shape, at::TensorOptions options);

  // Which cache row each example of the next forward pass continues; lengths grow by the pass's tokens.
  std::vector<int64_t> rows;
  std::vector<int64_t> lengths;  // by row

  at::Tensor& keys(int64_t layer) { return keys_[static_cast<size_t>(layer)]; }      // [rows, capacity, K, D]
  at::Tensor& values(int64_t layer) { return values_[static_cast<size_t>(layer)]; }  // [rows, capacity, K, D]

 private:
  std::vector<at::Tensor> keys_, values_;
};

// qkv [T, (H + 2K)·D] → [T, H·D]; rotates q and k inside. Overwrites qkv (its rotated form is what the backward pass
// needs). Differentiable.
at::Tensor attention(const at::Tensor& qkv, const Layout& layout, const HeadShape& shape);

// The same with cached keys and values in front; appends this pass's. Not differentiable.
at::Tensor cached_attention(const at::Tensor& qkv, const Layout& layout, const HeadShape& shape, KvCache& cache,
                            int64_t layer);

}  // namespace spt
