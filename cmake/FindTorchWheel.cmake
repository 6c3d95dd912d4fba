# libtorch from the wheel `torch` of PyPI (its own TorchConfig.cmake insists on a CUDA toolkit even for a CPU build).
#
# In:  SPT_TORCH_DIR, the folder `torch` of the wheel (default: .deps/torch/torch, where launch/setup.sh puts it)
# Out: target torch::cpu; with SPT_CUDA also torch::cuda and nccl::nccl (the wheel's own NCCL, so that only one is loaded)

set(SPT_TORCH_DIR "${CMAKE_SOURCE_DIR}/.deps/torch/torch" CACHE PATH "folder `torch` of the torch wheel")
if(NOT EXISTS "${SPT_TORCH_DIR}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no libtorch in ${SPT_TORCH_DIR}: run ./launch/setup.sh, or set -DSPT_TORCH_DIR=…/site-packages/torch")
endif()
get_filename_component(site "${SPT_TORCH_DIR}" DIRECTORY)
file(GLOB SPT_NVIDIA_LIBRARY_DIRS "${site}/nvidia/*/lib")
set(SPT_TORCH_RPATH "${SPT_TORCH_DIR}/lib" ${SPT_NVIDIA_LIBRARY_DIRS})
file(READ "${SPT_TORCH_DIR}/version.py" version_py)
string(REGEX MATCH "__version__ = '([^']+)'" _ "${version_py}")
set(SPT_TORCH_VERSION "${CMAKE_MATCH_1}")

add_library(torch_cpu INTERFACE)
# After the system's own headers: the wheel brings a copy of fmt of another version than spdlog was built with.
foreach(directory include include/torch/csrc/api/include)
  target_compile_options(torch_cpu INTERFACE "SHELL:-idirafter \"${SPT_TORCH_DIR}/${directory}\"")
endforeach()
target_compile_definitions(torch_cpu INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
target_link_libraries(torch_cpu INTERFACE "${SPT_TORCH_DIR}/lib/libtorch_cpu.so" "${SPT_TORCH_DIR}/lib/libc10.so")
foreach(directory IN LISTS SPT_TORCH_RPATH)
  target_link_options(torch_cpu INTERFACE "LINKER:-rpath-link,${directory}")
endforeach()
add_library(torch::cpu ALIAS torch_cpu)

if(SPT_CUDA)
  if(NOT EXISTS "${site}/nvidia/nccl/lib/libnccl.so.2")
    message(FATAL_ERROR "GPU support is wanted, but ${site}/nvidia has no NCCL: run ./launch/setup.sh with nvcc 13.0 or newer on PATH, "
      "or configure with -DSPT_CUDA=OFF")
  endif()
  add_library(torch_cuda INTERFACE)
  target_include_directories(torch_cuda SYSTEM INTERFACE "${site}/nvidia/nccl/include" ${CUDAToolkit_INCLUDE_DIRS})
  # libtorch_cuda.so is loaded by dist/cuda_device.cpp where there is a GPU; nothing refers to it by symbol.
  target_link_libraries(torch_cuda INTERFACE torch_cpu "${SPT_TORCH_DIR}/lib/libc10_cuda.so" "${site}/nvidia/cu13/lib/libcudart.so.13" dl)
  add_library(torch::cuda ALIAS torch_cuda)
  add_library(nccl INTERFACE)
  target_include_directories(nccl SYSTEM INTERFACE "${site}/nvidia/nccl/include")
  target_link_libraries(nccl INTERFACE "${site}/nvidia/nccl/lib/libnccl.so.2")
  add_library(nccl::nccl ALIAS nccl)
endif()
