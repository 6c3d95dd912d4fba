// On pointers, so that nvcc reads no header of libtorch.
#pragma once

#include <cstdint>

#include "trainer/model/kernels/cuda_launch.h"

namespace spt::cuda {

// A sequence with one new token, that of row `row`; it sees the places `first` … `past` of its cache, [K, capacity, D].
struct CachedToken {
  int64_t row;
  void *keys, *values;
  int64_t head_stride;  // of the cache, elements
  int first, past;
};

// Travels with the launch: nothing is copied to the device for it.
struct CachedTokens {
  static constexpr int kMost = 64;
  int count = 0;
  CachedToken of[kMost];
};

// [T, heads, D], strides in elements.
struct HeadRows {
  const void* data;
  int64_t row_stride, head_stride;
};

struct AttendShape {
  int heads, kv_heads, width;  // H, K, D
  // A block takes so many places of a sequence: by its own length, so that its bits do not hang on its neighbours.
  static constexpr int kPlaces = 128;
  int splits;  // of the longest sequence
};

// out [T, H, D], contiguous; partial fp32 [count, H, splits, D + 2].
void launch_attend(cudaStream_t stream, Dtype dtype, const CachedTokens& tokens, const AttendShape& shape,
                   const HeadRows& q, const HeadRows& k, const HeadRows& v, float* partial, void* out);

}  // namespace spt::cuda
