// The update on CUDA, on the current stream.
#pragma once

#include "trainer/optim/adamw_loop.h"

namespace spt::cuda {

void adamw(const AdamWNumbers& numbers, const at::Tensor& factor, const AdamWMemory& memory, int64_t n,
           at::Device device);

}  // namespace spt::cuda
