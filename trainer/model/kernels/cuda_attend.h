// One query against each cache on CUDA, on the current stream.
#pragma once

#include "trainer/model/kernels/few_rows.h"

namespace spt::cuda {

constexpr int64_t kWidestHead = 256;

// As spt::attend_to_caches, in fp32 or bf16 with fp32 inside. REQUIRES: D even, at most kWidestHead.
void attend_to_caches(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const std::vector<CachedSequence>& sequences, const at::Tensor& out);

}  // namespace spt::cuda
