#include "dist/cuda_device.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include "dist/cuda_call.h"

namespace spt {
namespace {

// The operators of libtorch for GPUs register themselves when their library is loaded, which costs 0.3 GB of memory and
// half a second: not paid where there is no GPU. It stays for good, as if it had been linked.
void load_operators() {
  static void* const kLibrary = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
  if (!kLibrary)
    throw Failure(fmt::format("a GPU is here, but libtorch's part for it cannot be loaded: {}", dlerror()));
}

}  // namespace

bool built_with_cuda() {
  return true;
}

int cuda_device_count() {
  int driver = 0;
  check_cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  if (driver == 0) return 0;
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice) return 0;
  check_cuda(error, "cudaGetDeviceCount");
  load_operators();
  return count;
}

std::string cuda_device_uuid(int index) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  std::string text;
  for (const char byte : properties.uuid.bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

std::string cuda_device_name(int index) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  return properties.name;
}

bool cuda_peer_access(int from, int to) {
  int can = 0;
  check_cuda(cudaDeviceCanAccessPeer(&can, from, to), "cudaDeviceCanAccessPeer");
  return can != 0;
}

CudaVersions cuda_versions() {
  CudaVersions versions;
  check_cuda(cudaDriverGetVersion(&versions.driver), "cudaDriverGetVersion");
  check_cuda(cudaRuntimeGetVersion(&versions.runtime), "cudaRuntimeGetVersion");
  return versions;
}

void set_cuda_device(int index) {
  check_cuda(cudaSetDevice(index), "cudaSetDevice");
}

int64_t cuda_peak_memory_bytes(int index) {
  using c10::CachingAllocator::StatType;
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(index));
  return stats.reserved_bytes[static_cast<size_t>(StatType::AGGREGATE)].peak;
}

int64_t cuda_allocations(int index) {
  return c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(index)).num_device_alloc;
}

int64_t cuda_free_memory_bytes() {
  size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<int64_t>(free);
}

}  // namespace spt
