// The GPUs that this process sees. A build without CUDA sees none.
#pragma once

#include <string>

namespace spt {

bool built_with_cuda();
int cuda_device_count();                  // 0 without a driver; throws Failure when the driver is too old
std::string cuda_device_uuid(int index);  // 32 hexadecimal digits
void set_cuda_device(int index);          // the calling thread's current device

}  // namespace spt
