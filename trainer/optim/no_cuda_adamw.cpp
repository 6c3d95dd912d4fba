#include "trainer/optim/cuda_adamw.h"

namespace spt::cuda {

void adamw(const AdamWNumbers& /*numbers*/, const at::Tensor& /*factor*/, const AdamWMemory& /*memory*/, int64_t /*n*/,
           at::Device /*device*/) {
  TORCH_INTERNAL_ASSERT(false, "built without CUDA");
}

}  // namespace spt::cuda
