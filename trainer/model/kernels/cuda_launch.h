// The CUDA kernels over rows (cuda_*.cu), on pointers, so that nvcc reads no header of libtorch. They only start them:
// what went wrong is cudaGetLastError's.
//
// Matrices are contiguous and of the launch's dtype where nothing else is said; a kernel reads and writes 16 bytes at a
// time where addresses and the number of columns allow, otherwise element by element.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

namespace spt::cuda {

enum class Dtype { kFloat, kBFloat16 };

struct Launch {
  cudaStream_t stream;  // of the current device
  Dtype dtype;
  int64_t rows;  // 0 < rows < 2³¹
  int columns;
};

// x, out [rows, columns], weight [columns] → rstd fp32 [rows]. With `delta` (or null) the norm is that of x + delta,
// which goes to `sum`.
void launch_rms_norm(const Launch& launch, const void* x, const void* delta, const void* weight, float eps, void* sum,
                     void* out, float* rstd);

// dx [rows, columns] for upstream g, plus `more` (or null); the weight's gradient as sums over stretches of rows,
// fp32 [stretches, columns]. REQUIRES: a row in fp32 fits shared memory (columns up to 40,000).
int64_t rms_norm_stretches(int64_t rows);
void launch_rms_norm_backward(const Launch& launch, const void* g, const void* x, const void* weight, const float* rstd,
                              const void* more, void* dx, float* partial);
// dweight [columns] += Σ of the stretches, in a fixed order.
void launch_add_stretches(cudaStream_t stream, const float* partial, int64_t stretches, int columns, float* dweight);

// gate_up [rows, 2 · columns], out and g [rows, columns]
void launch_swiglu(const Launch& launch, const void* gate_up, void* out);
void launch_swiglu_backward(const Launch& launch, const void* g, const void* gate_up, void* dgate_up);

// x [rows, heads, 2 · columns] in place, strides in elements; cos, sin fp32 [rows, columns].
struct Heads {
  int heads;
  int64_t row_stride, head_stride;
};
void launch_rotate(const Launch& launch, void* x, const Heads& heads, const float* cos, const float* sin,
                   float sin_sign);

// As softmax_loss.h says: logits [rows, columns], labels [rows], highest and sum fp32 [rows], sums fp32 [2, rows].
void launch_softmax_sums(const Launch& launch, const void* logits, const int64_t* labels, int64_t begin, float* highest,
                         float* sums);
void launch_softmax_gradient(const Launch& launch, void* logits, const int64_t* labels, int64_t begin,
                             const float* highest, const float* sum, float scale);

}  // namespace spt::cuda
