#include <algorithm>
#include <initializer_list>

#include "trainer/optim/cuda_adamw_launch.h"

namespace spt::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1 << 16;
constexpr int kWide = 8;  // elements of a thread at a time: 16 bytes of bf16, twice 16 of fp32

template <class T, int W>
struct alignas(sizeof(T) * W < 16 ? sizeof(T) * W : 16) Pack {
  T at[W];
};

__device__ float widened(float x) {
  return x;
}
__device__ float widened(uint16_t x) {
  return __uint_as_float(uint32_t{x} << 16);
}

__device__ float updated(const AdamWLaunch& by, float g, float& m, float& v, float value) {
  m += by.to_first * (g - m);
  v = by.second * v + by.to_second * (g * g);
  return by.keep * value - by.step_size * (m / (sqrtf(v) * by.root_scale + by.eps));
}

// value is fp32, or the upper halves of masters whose lower halves are `lower` (split_master.h).
template <class Grad, bool kSplit, int W>
__global__ void adamw_kernel(AdamWLaunch by, const float* __restrict__ factor, const Grad* __restrict__ grad,
                             float* __restrict__ m, float* __restrict__ v, void* __restrict__ value,
                             int16_t* __restrict__ lower, int64_t packs) {
  using Floats = Pack<float, W>;
  using Halves = Pack<int16_t, W>;
  const float scale = *factor;
  if (!isfinite(scale)) return;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const Pack<Grad, W> g = reinterpret_cast<const Pack<Grad, W>*>(grad)[i];
    Floats first = reinterpret_cast<Floats*>(m)[i], second = reinterpret_cast<Floats*>(v)[i];
    if constexpr (kSplit) {
      Halves high = static_cast<Halves*>(value)[i], low = reinterpret_cast<Halves*>(lower)[i];
#pragma unroll
      for (int k = 0; k < W; ++k) {
        const int32_t joined = int32_t{high.at[k]} * (1 << 16) + low.at[k];
        const float master = updated(by, widened(g.at[k]) * scale, first.at[k], second.at[k], __int_as_float(joined));
        const int32_t bits = isnan(master) ? 0x7fc00000 : __float_as_int(master);
        const int32_t rounded = (bits + (1 << 15)) >> 16;
        high.at[k] = static_cast<int16_t>(rounded);
        low.at[k] = static_cast<int16_t>(bits - rounded * (1 << 16));
      }
      static_cast<Halves*>(value)[i] = high;
      reinterpret_cast<Halves*>(lower)[i] = low;
    } else {
      Floats x = static_cast<Floats*>(value)[i];
#pragma unroll
      for (int k = 0; k < W; ++k) x.at[k] = updated(by, widened(g.at[k]) * scale, first.at[k], second.at[k], x.at[k]);
      static_cast<Floats*>(value)[i] = x;
    }
    reinterpret_cast<Floats*>(m)[i] = first;
    reinterpret_cast<Floats*>(v)[i] = second;
  }
}

template <class Grad, bool kSplit, int W>
void start(cudaStream_t stream, const AdamWLaunch& by, const float* factor, const Grad* grad, float* m, float* v,
           void* value, int16_t* lower, int64_t n) {
  const int64_t packs = n / W;
  if (packs == 0) return;
  const auto blocks = static_cast<unsigned>(std::min(kMostBlocks, (packs + kThreads - 1) / kThreads));
  adamw_kernel<Grad, kSplit, W><<<blocks, kThreads, 0, stream>>>(by, factor, grad, m, v, value, lower, packs);
}

template <class Grad, bool kSplit>
void start_wide(cudaStream_t stream, const AdamWLaunch& by, const float* factor, const Grad* grad, float* m, float* v,
                void* value, int16_t* lower, int64_t n) {
  bool is_aligned = true;
  for (const void* address : {static_cast<const void*>(grad), static_cast<const void*>(m), static_cast<const void*>(v),
                              static_cast<const void*>(value), static_cast<const void*>(lower)})
    is_aligned = is_aligned && reinterpret_cast<uintptr_t>(address) % 16 == 0;
  const int64_t wide = is_aligned ? n / kWide * kWide : 0;
  start<Grad, kSplit, kWide>(stream, by, factor, grad, m, v, value, lower, wide);
  constexpr int kValueBytes = kSplit ? 2 : 4;
  start<Grad, kSplit, 1>(stream, by, factor, grad + wide, m + wide, v + wide,
                         static_cast<char*>(value) + kValueBytes * wide, kSplit ? lower + wide : nullptr, n - wide);
}

}  // namespace

void launch_adamw(cudaStream_t stream, const AdamWLaunch& by, const float* factor, const void* grad, bool is_grad_bf16,
                  float* m, float* v, void* value, int16_t* lower, int64_t n) {
  const auto start_with = [&](auto zero) {
    using Grad = decltype(zero);
    const auto* g = static_cast<const Grad*>(grad);
    if (lower != nullptr)
      start_wide<Grad, true>(stream, by, factor, g, m, v, value, lower, n);
    else
      start_wide<Grad, false>(stream, by, factor, g, m, v, value, lower, n);
  };
  if (is_grad_bf16)
    start_with(uint16_t{});
  else
    start_with(float{});
}

}  // namespace spt::cuda
