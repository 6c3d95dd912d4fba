// CUDA's error codes as exceptions.
#pragma once

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "base/error.h"

namespace spt {

// Throws Failure with the call's name and CUDA's text.
inline void check_cuda(cudaError_t error, const char* call) {
  if (error != cudaSuccess) throw Failure(fmt::format("{} failed: {}", call, cudaGetErrorString(error)));
}

}  // namespace spt
