// Causal attention over a ragged batch in half precision on CUDA, by one of two libraries.
//
// T: tokens; H, K: query and key/value heads (K divides H); D: head dimension; n: examples.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace spt {

enum class AttentionWay { kAuto, kFlash, kCudnn };
inline std::vector<std::pair<std::string, AttentionWay>> enum_names(AttentionWay) {
  return {{"auto", AttentionWay::kAuto}, {"flash", AttentionWay::kFlash}, {"cudnn", AttentionWay::kCudnn}};
}

// What cuDNN's ragged attention needs; why it cannot be had, or nothing.
std::optional<std::string> why_no_cudnn(at::Device device, at::ScalarType dtype, std::optional<int64_t> window);

struct RaggedInput {
  at::Tensor q, k, v;  // [T, H, D], [T, K, D], [T, K, D]; tokens may lie apart
  at::Tensor starts;   // int32 [n+1]
  int64_t longest;     // tokens of the longest example, or more
  std::optional<int64_t> window;
};
struct RaggedOutput {
  at::Tensor out;                      // [T, H, D]
  at::Tensor logsumexp, seed, offset;  // for the backward pass of the same way
};
struct RaggedGradient {
  at::Tensor q, k, v;
};

// `way` is flash or cudnn; cudnn REQUIRES that why_no_cudnn says nothing.
RaggedOutput ragged_attention(AttentionWay way, const RaggedInput& in);
RaggedGradient ragged_attention_backward(AttentionWay way, const at::Tensor& g, const RaggedInput& in,
                                         const RaggedOutput& output);

// Both ways measured on random heads of this shape, forward and backward, `layers` calls of each: what a micro-batch of
// a shape not seen before takes, plans that cuDNN makes for it among it.
struct WaysCompared {
  double flash_seconds, cudnn_seconds;
  double apart;       // the largest distance of outputs and gradients over what rounding to bf16 allows
  std::string error;  // of cuDNN, which then has no times; empty: none

  bool prefers_cudnn() const { return error.empty() && apart <= 1 && cudnn_seconds < flash_seconds; }
  std::string describe() const;
};
// Waits for the GPU. `in` gives shapes, dtype, device and starts.
WaysCompared compare_ways(const RaggedInput& in, int64_t layers);

}  // namespace spt
