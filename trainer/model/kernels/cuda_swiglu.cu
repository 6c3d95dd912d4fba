#include "trainer/model/kernels/cuda_rows.cuh"

namespace spt::cuda {
namespace {

constexpr int kThreads = 256;

struct Silu {
  float value, slope;
};
__device__ Silu silu(float x) {
  // As far as 1 + it is finite: infinity times its reciprocal would be NaN.
  const float e = expf(fminf(-x, 87.0f)), sigmoid = 1.0f / (1.0f + e), value = x * sigmoid;
  return {value, sigmoid + value * (e * sigmoid)};  // 1 − sigmoid would be its rounding error
}

// A block a row.
template <class T, int W>
__global__ void swiglu_kernel(const T* __restrict__ gate_up, T* __restrict__ out, int columns) {
  const T* gate = gate_up + int64_t{blockIdx.x} * 2 * columns;
  T* to = out + int64_t{blockIdx.x} * columns;
  for_columns<W>(columns, [&](int i) {
    Floats<W> a = load<W>(gate + i);
    const Floats<W> b = load<W>(gate + columns + i);
#pragma unroll
    for (int k = 0; k < W; ++k) a.at[k] = silu(a.at[k]).value * b.at[k];
    store(to + i, a);
  });
}

template <class T, int W>
__global__ void swiglu_backward_kernel(const T* __restrict__ g, const T* __restrict__ gate_up, T* __restrict__ dgate_up,
                                       int columns) {
  const int64_t row = int64_t{blockIdx.x} * columns;
  const T* gate = gate_up + 2 * row;
  T* dgate = dgate_up + 2 * row;
  for_columns<W>(columns, [&](int i) {
    const Floats<W> upstream = load<W>(g + row + i);
    Floats<W> a = load<W>(gate + i), b = load<W>(gate + columns + i);
#pragma unroll
    for (int k = 0; k < W; ++k) {
      const Silu s = silu(a.at[k]);
      a.at[k] = upstream.at[k] * b.at[k] * s.slope;
      b.at[k] = upstream.at[k] * s.value;
    }
    store(dgate + i, a);
    store(dgate + columns + i, b);
  });
}

}  // namespace

void launch_swiglu(const Launch& launch, const void* gate_up, void* out) {
  dispatch(launch, {gate_up, out}, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int kWidth = decltype(width)::value;
    swiglu_kernel<T, kWidth>
        <<<static_cast<unsigned>(launch.rows), threads_for(launch.columns / kWidth, kThreads), 0, launch.stream>>>(
            static_cast<const T*>(gate_up), static_cast<T*>(out), launch.columns);
  });
}

void launch_swiglu_backward(const Launch& launch, const void* g, const void* gate_up, void* dgate_up) {
  dispatch(launch, {g, gate_up, dgate_up}, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int kWidth = decltype(width)::value;
    swiglu_backward_kernel<T, kWidth>
        <<<static_cast<unsigned>(launch.rows), threads_for(launch.columns / kWidth, kThreads), 0, launch.stream>>>(
            static_cast<const T*>(g), static_cast<const T*>(gate_up), static_cast<T*>(dgate_up), launch.columns);
  });
}

}  // namespace spt::cuda
