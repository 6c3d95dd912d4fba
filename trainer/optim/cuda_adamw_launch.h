// On pointers, so that nvcc reads no header of libtorch.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

namespace spt::cuda {

// As AdamWNumbers (adamw.h).
struct AdamWLaunch {
  float keep, step_size, to_first, second, to_second, root_scale, eps;
};

// As adamw() says; `factor` on the device, value fp32 where `lower` is null, otherwise bf16. 16 bytes at a time where
// all addresses allow it.
void launch_adamw(cudaStream_t stream, const AdamWLaunch& by, const float* factor, const void* grad, bool is_grad_bf16,
                  float* m, float* v, void* value, int16_t* lower, int64_t n);

}  // namespace spt::cuda
