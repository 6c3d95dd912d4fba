#include "trainer/model/kernels/cuda_rows.cuh"

namespace spt::cuda {
namespace {

constexpr int kThreads = 256;
// Rows whose share of the weight's gradient one block adds up: enough blocks for a GPU from 2,000 rows on, and sums
// that take an eighth of x in bf16.
constexpr int kStretch = 16;

// A block a row. With kAdds the norm is that of x + delta, as it was rounded into `sum`.
template <class T, int W, bool kAdds>
__global__ void rms_norm_kernel(const T* __restrict__ x, const T* __restrict__ delta, const T* __restrict__ weight,
                                float eps, T* sum, T* __restrict__ out, float* __restrict__ rstd, int columns) {
  const int64_t row = int64_t{blockIdx.x} * columns;
  float squares = 0;
  for_columns<W>(columns, [&](int i) {
    Floats<W> v = load<W>(x + row + i);
    if constexpr (kAdds) {
      const Floats<W> d = load<W>(delta + row + i);
#pragma unroll
      for (int k = 0; k < W; ++k) v.at[k] += d.at[k];
      store(sum + row + i, v);
      v = widened(rounded<T>(v));
    }
#pragma unroll
    for (int k = 0; k < W; ++k) squares += v.at[k] * v.at[k];
  });
  const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(columns) + eps);
  if (threadIdx.x == 0) rstd[blockIdx.x] = scale;
  // Of `sum` each thread reads what it wrote itself.
  const T* in = kAdds ? sum : x;
  for_columns<W>(columns, [&](int i) {
    Floats<W> v = load<W>(in + row + i);
    const Floats<W> w = load<W>(weight + i);
#pragma unroll
    for (int k = 0; k < W; ++k) v.at[k] *= scale * w.at[k];
    store(out + row + i, v);
  });
}

// A block a stretch of rows, one after the other.
template <class T, int W>
__global__ void rms_norm_backward_kernel(const T* __restrict__ g, const T* __restrict__ x, const T* __restrict__ weight,
                                         const float* __restrict__ rstd, const T* __restrict__ more, T* __restrict__ dx,
                                         float* __restrict__ partial, int64_t rows, int columns) {
  extern __shared__ __align__(16) float dweight[];  // [columns]; each thread sees its own columns only
  for_columns<W>(columns, [&](int i) { store(dweight + i, Floats<W>{}); });
  const int64_t first = int64_t{blockIdx.x} * kStretch, end = min(rows, first + kStretch);
  for (int64_t r = first; r < end; ++r) {
    const T *g_row = g + r * columns, *x_row = x + r * columns;
    float dot = 0;
    for_columns<W>(columns, [&](int i) {
      const Floats<W> up = load<W>(g_row + i), v = load<W>(x_row + i), w = load<W>(weight + i);
#pragma unroll
      for (int k = 0; k < W; ++k) dot += up.at[k] * w.at[k] * v.at[k];
    });
    const float scale = rstd[r];
    const float mean = block_sum(dot) * scale * scale / static_cast<float>(columns);
    for_columns<W>(columns, [&](int i) {
      const Floats<W> up = load<W>(g_row + i), v = load<W>(x_row + i), w = load<W>(weight + i);
      Floats<W> sum = load<W>(dweight + i), d;
#pragma unroll
      for (int k = 0; k < W; ++k) {
        sum.at[k] += up.at[k] * v.at[k] * scale;
        d.at[k] = scale * (up.at[k] * w.at[k] - v.at[k] * mean);
      }
      store(dweight + i, sum);
      if (more != nullptr) {
        const Floats<W> past = load<W>(more + r * columns + i);
#pragma unroll
        for (int k = 0; k < W; ++k) d.at[k] += past.at[k];
      }
      store(dx + r * columns + i, d);
    });
  }
  float* out = partial + int64_t{blockIdx.x} * columns;
  for_columns<W>(columns, [&](int i) { store(out + i, load<W>(dweight + i)); });
}

constexpr int kLanes = 32;

// A block [kWarp columns, kLanes]: each lane adds up every kLanes-th stretch, and one thread the lanes.
__global__ void add_stretches_kernel(const float* __restrict__ partial, int64_t stretches, int columns,
                                     float* __restrict__ dweight) {
  __shared__ float of_lanes[kLanes][kWarp];
  const int column = static_cast<int>(blockIdx.x * kWarp + threadIdx.x);
  float sum = 0;
  if (column < columns)
    for (int64_t i = threadIdx.y; i < stretches; i += kLanes) sum += partial[i * columns + column];
  of_lanes[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= columns) return;
  for (int lane = 1; lane < kLanes; ++lane) sum += of_lanes[lane][threadIdx.x];
  dweight[column] += sum;
}

}  // namespace

void launch_rms_norm(const Launch& launch, const void* x, const void* delta, const void* weight, float eps, void* sum,
                     void* out, float* rstd) {
  dispatch(launch, {x, delta, weight, sum, out}, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int kWidth = decltype(width)::value;
    const auto kernel = delta != nullptr ? rms_norm_kernel<T, kWidth, true> : rms_norm_kernel<T, kWidth, false>;
    kernel<<<static_cast<unsigned>(launch.rows), threads_for(launch.columns / kWidth, kThreads), 0, launch.stream>>>(
        static_cast<const T*>(x), static_cast<const T*>(delta), static_cast<const T*>(weight), eps,
        static_cast<T*>(sum), static_cast<T*>(out), rstd, launch.columns);
  });
}

int64_t rms_norm_stretches(int64_t rows) {
  return (rows + kStretch - 1) / kStretch;
}

void launch_rms_norm_backward(const Launch& launch, const void* g, const void* x, const void* weight, const float* rstd,
                              const void* more, void* dx, float* partial) {
  dispatch(launch, {g, x, weight, more, dx, partial}, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int kWidth = decltype(width)::value;
    const auto kernel = rms_norm_backward_kernel<T, kWidth>;
    const size_t shared = sizeof(float) * static_cast<size_t>(launch.columns);
    // More than what every kernel gets unasked, which is 48 KiB with what block_sum has. Where it is too much the
    // launch fails as well.
    if (shared > 32 * 1024)
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    kernel<<<static_cast<unsigned>(rms_norm_stretches(launch.rows)), threads_for(launch.columns / kWidth, kThreads),
             shared, launch.stream>>>(static_cast<const T*>(g), static_cast<const T*>(x), static_cast<const T*>(weight),
                                      rstd, static_cast<const T*>(more), static_cast<T*>(dx), partial, launch.rows,
                                      launch.columns);
  });
}

void launch_add_stretches(cudaStream_t stream, const float* partial, int64_t stretches, int columns, float* dweight) {
  add_stretches_kernel<<<static_cast<unsigned>((columns + kWarp - 1) / kWarp), dim3(kWarp, kLanes), 0, stream>>>(
      partial, stretches, columns, dweight);
}

}  // namespace spt::cuda
