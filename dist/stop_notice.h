// A request to stop that one rank has, told to all ranks while they compute: no rank waits for another.
#pragma once

#include <vector>

#include <mpi.h>

namespace spt {

class StopNotice {
 public:
  explicit StopNotice(MPI_Comm world);  // collective
  ~StopNotice();
  StopNotice(const StopNotice&) = delete;
  StopNotice& operator=(const StopNotice&) = delete;

  // Whether any rank was asked to, as far as this one has heard; `asked`: this one is now. To be called now and then by
  // every rank: rank 0 passes on what it hears.
  bool heard(bool asked);

 private:
  void tell(int rank);

  MPI_Comm comm_;
  int rank_ = 0, size_ = 1;
  bool heard_ = false;
  std::vector<MPI_Request> told_;
};

}  // namespace spt
