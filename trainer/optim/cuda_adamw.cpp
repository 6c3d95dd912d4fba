#include "trainer/optim/cuda_adamw.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "dist/cuda_call.h"
#include "trainer/optim/cuda_adamw_launch.h"

namespace spt::cuda {

void adamw(const AdamWNumbers& numbers, const at::Tensor& factor, const AdamWMemory& memory, int64_t n,
           at::Device device) {
  if (n == 0) return;
  const c10::cuda::CUDAGuard on_device(device);
  const AdamWLaunch by{numbers.keep,      numbers.step_size,  numbers.to_first, numbers.second,
                       numbers.to_second, numbers.root_scale, numbers.eps};
  launch_adamw(c10::cuda::getCurrentCUDAStream(device.index()).stream(), by, factor.const_data_ptr<float>(),
               memory.grad, memory.is_grad_bf16, memory.m, memory.v, memory.value, memory.lower, n);
  check_cuda(cudaGetLastError(), "adamw");
}

}  // namespace spt::cuda
