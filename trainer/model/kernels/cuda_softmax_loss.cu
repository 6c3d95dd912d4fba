#include <cfloat>

#include "trainer/model/kernels/cuda_rows.cuh"

namespace spt::cuda {
namespace {

// A vocabulary's rows are long: as many threads as a block may have.
constexpr int kThreads = 1024;

// Of a row's label; negative where another rank has it.
__device__ int column_of(int64_t label, int64_t begin, int columns) {
  return label >= begin && label < begin + columns ? static_cast<int>(label - begin) : -1;
}

// A block a row. Highest and sum in one pass (Milakov & Gimelshein, arXiv 1805.02867). Exponents are 0 at most, where
// __expf is as good as expf for a sum.
template <class T, int W>
__global__ void __launch_bounds__(kThreads)
    softmax_sums_kernel(const T* __restrict__ logits, const int64_t* __restrict__ labels, int64_t begin,
                        float* __restrict__ highest, float* __restrict__ sums, int columns) {
  const T* row = logits + int64_t{blockIdx.x} * columns;
  float most = -FLT_MAX, sum = 0;  // finite: a difference to itself is no NaN
  for_columns<W>(columns, [&](int i) {
    const Floats<W> v = load<W>(row + i);
    const float before = most;
#pragma unroll
    for (int k = 0; k < W; ++k) most = fmaxf(most, v.at[k]);
    sum *= __expf(before - most);
#pragma unroll
    for (int k = 0; k < W; ++k) sum += __expf(v.at[k] - most);
  });
  const float most_of_all = block_max(most);
  const float sum_of_all = block_sum(sum * __expf(most - most_of_all));
  if (threadIdx.x > 0) return;
  const int column = column_of(labels[blockIdx.x], begin, columns);
  highest[blockIdx.x] = most_of_all;
  sums[blockIdx.x] = sum_of_all;
  sums[int64_t{gridDim.x} + blockIdx.x] = column >= 0 ? static_cast<float>(row[column]) : 0.0f;
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads)
    softmax_gradient_kernel(T* logits, const int64_t* __restrict__ labels, int64_t begin,
                            const float* __restrict__ highest, const float* __restrict__ sum, float scale,
                            int columns) {
  T* row = logits + int64_t{blockIdx.x} * columns;
  const float most = highest[blockIdx.x], factor = scale / sum[blockIdx.x];
  const int column = column_of(labels[blockIdx.x], begin, columns);
  for_columns<W>(columns, [&](int i) {
    Floats<W> v = load<W>(row + i);
#pragma unroll
    for (int k = 0; k < W; ++k) v.at[k] = __expf(v.at[k] - most) * factor - (i + k == column ? scale : 0.0f);
    store(row + i, v);
  });
}

}  // namespace

void launch_softmax_sums(const Launch& launch, const void* logits, const int64_t* labels, int64_t begin, float* highest,
                         float* sums) {
  dispatch(launch, {logits}, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int kWidth = decltype(width)::value;
    softmax_sums_kernel<T, kWidth>
        <<<static_cast<unsigned>(launch.rows), threads_for(launch.columns / kWidth, kThreads), 0, launch.stream>>>(
            static_cast<const T*>(logits), labels, begin, highest, sums, launch.columns);
  });
}

void launch_softmax_gradient(const Launch& launch, void* logits, const int64_t* labels, int64_t begin,
                             const float* highest, const float* sum, float scale) {
  dispatch(launch, {logits}, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int kWidth = decltype(width)::value;
    softmax_gradient_kernel<T, kWidth>
        <<<static_cast<unsigned>(launch.rows), threads_for(launch.columns / kWidth, kThreads), 0, launch.stream>>>(
            static_cast<T*>(logits), labels, begin, highest, sum, scale, launch.columns);
  });
}

}  // namespace spt::cuda
