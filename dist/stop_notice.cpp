#include "dist/stop_notice.h"

#include "dist/mpi_call.h"

namespace spt {

StopNotice::StopNotice(MPI_Comm world) : comm_(duplicate_comm(world)) {
  check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
}

// Messages of no bytes: a peer that ended without reading one keeps nobody waiting.
StopNotice::~StopNotice() {
  for (MPI_Request& request : told_) MPI_Request_free(&request);
}

bool StopNotice::heard(bool asked) {
  if (heard_) return true;
  int is_there = 0;
  check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, 0, comm_, &is_there, MPI_STATUS_IGNORE), "MPI_Iprobe");
  heard_ = asked || is_there != 0;
  if (!heard_) return false;
  if (rank_ > 0 && is_there == 0) tell(0);
  for (int rank = 1; rank_ == 0 && rank < size_; ++rank) tell(rank);
  return true;
}

void StopNotice::tell(int rank) {
  check_mpi(MPI_Isend(nullptr, 0, MPI_BYTE, rank, 0, comm_, &told_.emplace_back()), "MPI_Isend");
}

}  // namespace spt
