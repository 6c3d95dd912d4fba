#include <c10/util/Exception.h>

#include "dist/cuda_device.h"

namespace spt {

bool built_with_cuda() {
  return false;
}

int cuda_device_count() {
  return 0;
}

std::string cuda_device_uuid(int index) {
  TORCH_INTERNAL_ASSERT(false, "no GPU ", index);
}

std::string cuda_device_name(int index) {
  TORCH_INTERNAL_ASSERT(false, "no GPU ", index);
}

bool cuda_peer_access(int from, int to) {
  TORCH_INTERNAL_ASSERT(false, "no GPU ", from, " or ", to);
}

CudaVersions cuda_versions() {
  TORCH_INTERNAL_ASSERT(false, "no GPU");
}

void set_cuda_device(int index) {
  TORCH_INTERNAL_ASSERT(false, "no GPU ", index);
}

int64_t cuda_peak_memory_bytes(int index) {
  TORCH_INTERNAL_ASSERT(false, "no GPU ", index);
}

int64_t cuda_allocations(int index) {
  TORCH_INTERNAL_ASSERT(false, "no GPU ", index);
}

int64_t cuda_free_memory_bytes() {
  TORCH_INTERNAL_ASSERT(false, "no GPU");
}

}  // namespace spt
