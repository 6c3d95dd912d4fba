// Rotary position embedding (Su et al., arXiv 2104.09864), in the half-split layout of Hugging Face checkpoints.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "trainer/model/model_config.h"

namespace spt {

// Angles per position and pair: cos and sin [positions, head_dim / 2], fp32, computed as transformers does.
class Rotary {
 public:
  Rotary(const ModelConfig& config, at::Device device);

  // Rows for `positions` (int64 [T]) as [T, 1, D/2] in `dtype`.
  struct Angles {
    at::Tensor cos, sin;
  };
  Angles at(const at::Tensor& positions, at::ScalarType dtype) const;

 private:
  at::Tensor inverse_frequencies_;  // fp32 [D/2]
};

// Rotates x [T, heads, D] in place; `inverse` rotates back (the gradient's way).
void rotate(at::Tensor x, const Rotary::Angles& angles, bool inverse);

}  // namespace spt
