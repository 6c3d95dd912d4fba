// Rotary position embedding (Su et al., arXiv 2104.09864), in the half-split layout of Hugging Face checkpoints.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "trainer/model/model_config.h"

namespace spt {

// Angles per position and pair of dimensions, in fp32, computed as transformers does.
class Rotary {
 public:
  Rotary(const ModelConfig& config, at::Device device);

  struct Angles {
    at::Tensor cos, sin;  // fp32 [T, D/2]
  };
  Angles at(const at::Tensor& positions) const;  // int64 [T]

 private:
  at::Tensor inverse_frequencies_;  // fp32 [D/2]
};

}  // namespace spt
