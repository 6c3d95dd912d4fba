// Causal attention over a ragged batch: no example sees another, no padding, an optional sliding window.
//
// T: tokens; H, K: query and key/value heads of this rank (K divides H); D: head dimension.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "trainer/model/ragged_attention.h"
#include "trainer/model/rotary.h"

namespace spt {

class KvCache;

// Where the tokens of a batch stand: computed once, used by every layer.
struct Layout {
  std::vector<int64_t> starts;    // [n+1], on the host
  at::Tensor device_starts;       // int32 [n+1]
  std::vector<int64_t> past;      // [n]: cached tokens in front of each example; empty in training
  std::vector<at::Tensor> masks;  // [n]: additive [L, P + L] of examples that branch; empty otherwise
  KvCache* shared = nullptr;      // P tokens in front of every example that branches
  int64_t longest = 0;            // tokens of the longest example
  bool one_thread_each = false;   // examples, without gradients: their bits do not hang on the number of threads
  bool is_cut = false;            // between blocks a tp rank has only some of the rows
  AttentionWay way = AttentionWay::kFlash;  // of training on CUDA in bf16
  Rotary::Angles angles;

  int64_t tokens() const { return starts.back(); }
  int64_t examples() const { return static_cast<int64_t>(starts.size()) - 1; }
  int64_t length(int64_t i) const { return starts[static_cast<size_t>(i) + 1] - starts[static_cast<size_t>(i)]; }
};

struct HeadShape {
  int64_t heads, kv_heads, head_dim;
  std::optional<int64_t> window;
};

// Keys and values of one sequence's tokens so far, for generation.
class KvCache {
 public:
  KvCache(int64_t layers, const HeadShape& shape, at::TensorOptions options);

  int64_t length = 0;  // tokens; grows by those of each forward pass

  // As if the first `tokens` of `other` had been read here. REQUIRES: nothing was.
  void copy_from(KvCache& other, int64_t tokens);

  // Room for `tokens` in all. More than asked is taken, so that a sequence that grows token by token is copied seldom.
  void reserve(int64_t tokens);

  at::Tensor& keys(int64_t layer) { return keys_[static_cast<size_t>(layer)]; }      // [K, capacity, D]
  at::Tensor& values(int64_t layer) { return values_[static_cast<size_t>(layer)]; }  // [K, capacity, D]

 private:
  int64_t capacity_ = 0;
  std::vector<at::Tensor> keys_, values_;
};

// An example whose end branches: `prefix` tokens, then one branch after the other, each of which goes on from the
// prefix and sees nothing of its siblings. (Options of a question: what they share is computed once.)
struct Branches {
  int64_t prefix = 0;
  std::vector<int64_t> lengths;

  // Of its tokens, with `past` tokens in front of it.
  std::vector<int64_t> positions(int64_t past) const;
  // Additive [L, past + L]: 0 where a token sees another, -inf elsewhere.
  at::Tensor mask(int64_t past, std::optional<int64_t> window, at::TensorOptions options) const;
};

// Whether, on the CPU, each thread takes examples of its own: with few of them a thread would wait for the one that has
// the last.
bool takes_one_example_a_thread(int64_t examples, int threads);

// qkv [T, (H + 2K)·D] → [T, H·D]; rotates q and k inside. Overwrites qkv (its rotated form is what the backward pass
// needs). Differentiable.
at::Tensor attention(const at::Tensor& qkv, const Layout& layout, const HeadShape& shape);

// The same with cached keys and values in front, caches[i] those of example i; appends this pass's, for which there
// must be room. Not differentiable.
at::Tensor cached_attention(const at::Tensor& qkv, const Layout& layout, const HeadShape& shape,
                            std::span<KvCache* const> caches, int64_t layer);

// The same through layout.masks, behind layout.shared, which it leaves as it is. Not differentiable.
at::Tensor branched_attention(const at::Tensor& qkv, const Layout& layout, const HeadShape& shape, int64_t layer);

}  // namespace spt
