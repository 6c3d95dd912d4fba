#include "base/error.h"
#include "dist/nccl_communicator.h"

namespace spt {

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator>, at::Device) {
  throw BadInput(
      "mesh.backend is nccl, but this program was built without CUDA; use auto or mpi, or build with -DSPT_CUDA=ON");
}

std::string nccl_version() {
  return "none";
}

}  // namespace spt
