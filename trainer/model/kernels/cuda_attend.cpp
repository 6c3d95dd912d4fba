#include "trainer/model/kernels/cuda_attend.h"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "dist/cuda_call.h"
#include "trainer/model/kernels/cuda_attend_launch.h"

namespace spt::cuda {
namespace {

HeadRows rows_of(const at::Tensor& x) {
  TORCH_INTERNAL_ASSERT(x.stride(2) == 1);
  return {x.const_data_ptr(), x.stride(0), x.stride(1)};
}

int splits_for(const CachedTokens& tokens) {
  int longest = 1;
  for (int i = 0; i < tokens.count; ++i) longest = std::max(longest, tokens.of[i].past + 1 - tokens.of[i].first);
  return (longest + AttendShape::kPlaces - 1) / AttendShape::kPlaces;
}

}  // namespace

void attend_to_caches(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const std::vector<CachedSequence>& sequences, const at::Tensor& out) {
  const int64_t heads = q.size(1), kv_heads = k.size(1), width = q.size(2);
  TORCH_INTERNAL_ASSERT(width % 2 == 0 && width <= kWidestHead && out.is_contiguous());
  const c10::cuda::CUDAGuard on_device(q.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(q.device().index()).stream();
  const Dtype dtype = q.scalar_type() == at::kFloat ? Dtype::kFloat : Dtype::kBFloat16;
  for (size_t begin = 0; begin < sequences.size(); begin += CachedTokens::kMost) {
    CachedTokens tokens;
    for (size_t i = begin; i < std::min(sequences.size(), begin + CachedTokens::kMost); ++i) {
      const CachedSequence& s = sequences[i];
      tokens.of[tokens.count++] = {s.row,
                                   s.keys.mutable_data_ptr(),
                                   s.values.mutable_data_ptr(),
                                   s.keys.stride(0),
                                   static_cast<int>(s.first),
                                   static_cast<int>(s.past)};
    }
    const int splits = splits_for(tokens);
    const at::Tensor partial = at::empty({tokens.count, heads, splits, width + 2}, q.options().dtype(at::kFloat));
    launch_attend(stream, dtype, tokens,
                  {static_cast<int>(heads), static_cast<int>(kv_heads), static_cast<int>(width), splits}, rows_of(q),
                  rows_of(k), rows_of(v), partial.mutable_data_ptr<float>(), out.mutable_data_ptr());
    check_cuda(cudaGetLastError(), "attend_to_caches");
  }
}

}  // namespace spt::cuda
