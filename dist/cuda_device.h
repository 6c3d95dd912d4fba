// The GPUs that this process sees. A build without CUDA sees none.
#pragma once

#include <cstdint>
#include <string>

namespace spt {

bool built_with_cuda();
// 0 without a driver. Where there is a GPU, tensors can be put on it from this call on. Throws Failure when the driver
// is too old or libtorch's part for GPUs cannot be loaded.
int cuda_device_count();
std::string cuda_device_uuid(int index);  // 32 hexadecimal digits
std::string cuda_device_name(int index);  // "NVIDIA H100 80GB HBM3"
bool cuda_peer_access(int from, int to);  // whether one reaches the memory of the other
struct CudaVersions {
  int driver = 0, runtime = 0;  // 13000 is 13.0; of the driver the newest that it takes
};
CudaVersions cuda_versions();
void set_cuda_device(int index);  // the calling thread's current device
// The most that libtorch's allocator has held of it since the start.
int64_t cuda_peak_memory_bytes(int index);
int64_t cuda_allocations(int index);  // calls of cudaMalloc by it since the start
int64_t cuda_free_memory_bytes();     // on the current device, by all processes' use of it

}  // namespace spt
