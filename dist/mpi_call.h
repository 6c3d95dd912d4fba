// MPI's error codes as exceptions. Communicators of ours return errors (MPI_ERRORS_RETURN) instead of ending the
// process.
#pragma once

#include <string>

#include <fmt/format.h>
#include <mpi.h>

#include "base/error.h"

namespace spt {

// Throws Failure with the call's name and MPI's text.
inline void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::string text(MPI_MAX_ERROR_STRING, '\0');
  int size = 0;
  MPI_Error_string(code, text.data(), &size);
  text.resize(static_cast<size_t>(size));
  throw Failure(fmt::format("{} failed: {}", call, text));
}

// A communicator of the same ranks that only the caller uses.
inline MPI_Comm duplicate_comm(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(comm, &copy), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return copy;
}

}  // namespace spt
