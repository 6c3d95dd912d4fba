// How the ranks of a job end together, in success or in failure.
//
// A rank that fails tells all others before it aborts the job, and every wait inside MPI looks out for that notice: so
// ranks that sit in a collective end at once and say nothing, whatever the launcher does and however SIGTERM is
// handled.
#pragma once

#include <chrono>
#include <span>
#include <string>

#include <mpi.h>

#include "base/error.h"

namespace spt {

class JobEnd {
 public:
  explicit JobEnd(MPI_Comm world);  // collective
  ~JobEnd();
  JobEnd(const JobEnd&) = delete;
  JobEnd& operator=(const JobEnd&) = delete;

  // Whether all requests are complete. Throws Failure where one failed.
  static bool test(std::span<MPI_Request> requests);
  // Blocks until all requests are complete; ends this process with the failing rank's status if one fails meanwhile.
  void wait(std::span<MPI_Request> requests);
  void wait(MPI_Request request) { wait(std::span(&request, 1)); }

  // Collective: the highest of the ranks' statuses, once all have come here. Not watched: others may work for hours.
  ExitStatus finish(ExitStatus mine);

  // Ends all ranks with `status`. Of the ranks that come here at about the same time, the lowest logs its message.
  [[noreturn]] void fail(ExitStatus status, const std::string& message);

 private:
  void look_for_notice();
  [[noreturn]] static void end_process(int status);

  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 1;
  MPI_Request notice_ = MPI_REQUEST_NULL;
  int noticed_status_ = 0;
};

}  // namespace spt
