// What the program was built against and runs on.
#pragma once

#include <string>
#include <vector>

namespace spt {

std::string mpi_library_version();             // "Open MPI v4.1.4"
std::vector<std::string> backends_built_in();  // "mpi", and with CUDA "nccl 2.28.9"

}  // namespace spt
