// The GPUs that this process sees. A build without CUDA sees none.
#pragma once

#include <cstdint>
#include <string>

namespace spt {

bool built_with_cuda();
int cuda_device_count();                  // 0 without a driver; throws Failure when the driver is too old
std::string cuda_device_uuid(int index);  // 32 hexadecimal digits
void set_cuda_device(int index);          // the calling thread's current device
// The most that libtorch's allocator has held of it since the start.
int64_t cuda_peak_memory_bytes(int index);

}  // namespace spt
