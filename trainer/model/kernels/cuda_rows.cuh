// What the kernels over rows share: accesses of 16 bytes, sums over a block, the choice of types at a launch.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include <cuda_bf16.h>

#include "trainer/model/kernels/cuda_launch.h"

namespace spt::cuda {

constexpr int kWarp = 32;

// W neighbouring elements: as fp32, and as they lie in memory.
template <int W>
struct Floats {
  float at[W];
};
template <class T, int W>
struct alignas(std::min<size_t>(16, sizeof(T) * W)) Packed {
  T at[W];
};

template <class T, int W>
__device__ Floats<W> widened(Packed<T, W> packed) {
  Floats<W> x;
#pragma unroll
  for (int k = 0; k < W; ++k) x.at[k] = static_cast<float>(packed.at[k]);
  return x;
}

template <class T, int W>
__device__ Packed<T, W> rounded(const Floats<W>& x) {
  Packed<T, W> packed;
#pragma unroll
  for (int k = 0; k < W; ++k) packed.at[k] = static_cast<T>(x.at[k]);
  return packed;
}

// Copied as a whole: one access.
template <int W, class T>
__device__ Floats<W> load(const T* from) {
  return widened(*reinterpret_cast<const Packed<T, W>*>(from));
}
template <class T, int W>
__device__ void store(T* to, const Floats<W>& x) {
  *reinterpret_cast<Packed<T, W>*>(to) = rounded<T>(x);
}

// f(first column) for this thread's share of a row, W columns at a time. A thread always gets the same columns.
template <int W, class F>
__device__ void for_columns(int columns, const F& f) {
  for (int i = static_cast<int>(threadIdx.x) * W; i < columns; i += static_cast<int>(blockDim.x) * W) f(i);
}

// x of all threads put together, the same on each of them and in every run. `neutral`: op(neutral, x) is x.
template <class Op>
__device__ float block_reduce(float x, float neutral, const Op& op) {
  __shared__ float of_warps[kWarp];
  const auto over_warp = [&](float y) {
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) y = op(y, __shfl_xor_sync(0xffffffff, y, lanes));
    return y;
  };
  x = over_warp(x);
  if (blockDim.x == kWarp) return x;
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  __syncthreads();  // until all have read what the last call left here
  if (lane == 0) of_warps[warp] = x;
  __syncthreads();
  return over_warp(lane < blockDim.x / kWarp ? of_warps[lane] : neutral);
}
__device__ inline float block_sum(float x) {
  return block_reduce(x, 0.0f, [](float a, float b) { return a + b; });
}
__device__ inline float block_max(float x) {
  return block_reduce(x, -INFINITY, [](float a, float b) { return fmaxf(a, b); });
}

// Threads of a block that has `items` pieces of work: whole warps.
inline unsigned threads_for(int64_t items, int64_t most) {
  return static_cast<unsigned>(std::clamp<int64_t>((items + kWarp - 1) / kWarp * kWarp, kWarp, most));
}

template <class T, class F>
void dispatch_width(int columns, std::initializer_list<const void*> rows, const F& f) {
  constexpr int kWide = 16 / sizeof(T);
  bool is_wide = columns % kWide == 0;
  for (const void* row : rows) is_wide = is_wide && reinterpret_cast<uintptr_t>(row) % 16 == 0;
  if (is_wide)
    f(T{}, std::integral_constant<int, kWide>{});
  else
    f(T{}, std::integral_constant<int, 1>{});
}
// f(a zero of the launch's dtype, how many elements to access at once), that fits matrices of so many columns that
// begin at these addresses.
template <class F>
void dispatch(const Launch& launch, std::initializer_list<const void*> matrices, const F& f) {
  if (launch.dtype == Dtype::kFloat)
    dispatch_width<float>(launch.columns, matrices, f);
  else
    dispatch_width<__nv_bfloat16>(launch.columns, matrices, f);
}

}  // namespace spt::cuda
