#include "dist/versions.h"

#include <mpi.h>

#include "dist/nccl_communicator.h"

namespace spt {

std::string mpi_library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(text, &length);  // allowed before MPI_Init
  const std::string version(text, static_cast<size_t>(length));
  return version.substr(0, version.find(','));
}

std::vector<std::string> backends_built_in() {
  std::vector<std::string> backends{"mpi"};
  if (nccl_version() != "none") backends.push_back("nccl " + nccl_version());
  return backends;
}

}  // namespace spt
