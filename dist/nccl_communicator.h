// Collectives of CUDA tensors over NCCL, on the current stream; begun ones on a stream of the group's own, in the order
// of the calls. no_nccl_communicator.cpp stands in for builds without CUDA.
#pragma once

#include <memory>
#include <string>

#include "dist/communicator.h"

namespace spt {

// Collective. `host` is the same ranks' group of CPU tensors, over which NCCL's id is sent; every rank has a GPU of its
// own, the current device. Throws BadInput when this program was built without CUDA or `device` is not a GPU.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host, at::Device device);

std::string nccl_version();  // "2.28.9", or "none"

}  // namespace spt
