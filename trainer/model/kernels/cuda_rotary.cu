#include "trainer/model/kernels/cuda_rows.cuh"

namespace spt::cuda {
namespace {

constexpr int kThreads = 256;

// A block a token; `half`: pairs of a head.
template <class T, int W>
__global__ void rotate_kernel(T* x, Heads heads, const float* __restrict__ cos, const float* __restrict__ sin,
                              float sin_sign, int half) {
  T* token = x + blockIdx.x * heads.row_stride;
  const float *c = cos + int64_t{blockIdx.x} * half, *s = sin + int64_t{blockIdx.x} * half;
  const int pieces = half / W;
  for (int j = static_cast<int>(threadIdx.x); j < heads.heads * pieces; j += static_cast<int>(blockDim.x)) {
    const int i = j % pieces * W;
    T* first = token + j / pieces * heads.head_stride + i;
    Floats<W> a = load<W>(first), b = load<W>(first + half);
    const Floats<W> cosine = load<W>(c + i), sine = load<W>(s + i);
#pragma unroll
    for (int k = 0; k < W; ++k) {
      const float before = a.at[k], signed_sine = sine.at[k] * sin_sign;
      a.at[k] = before * cosine.at[k] - b.at[k] * signed_sine;
      b.at[k] = b.at[k] * cosine.at[k] + before * signed_sine;
    }
    store(first, a);
    store(first + half, b);
  }
}

}  // namespace

void launch_rotate(const Launch& launch, void* x, const Heads& heads, const float* cos, const float* sin,
                   float sin_sign) {
  dispatch(launch, {x, cos, sin}, [&](auto zero, auto width) {
    using T = decltype(zero);
    const auto rotate_by = [&](auto elements) {
      constexpr int kWidth = decltype(elements)::value;
      rotate_kernel<T, kWidth>
          <<<static_cast<unsigned>(launch.rows),
             threads_for(int64_t{heads.heads} * (launch.columns / kWidth), kThreads), 0, launch.stream>>>(
              static_cast<T*>(x), heads, cos, sin, sin_sign, launch.columns);
    };
    // Rows and heads may lie apart by what is no multiple of 16 bytes.
    constexpr int kWide = decltype(width)::value;
    if (heads.row_stride % kWide == 0 && heads.head_stride % kWide == 0)
      rotate_by(width);
    else
      rotate_by(std::integral_constant<int, 1>{});
  });
}

}  // namespace spt::cuda
