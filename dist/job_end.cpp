#include "dist/job_end.h"

#include <algorithm>
#include <thread>
#include <vector>

#include <unistd.h>

#include "base/log.h"
#include "dist/mpi_call.h"
#include "dist/watchdog.h"

namespace spt {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;

// MPI is polled without a pause for so long; after that the core is given to others between two looks (as on machines
// with more ranks than free cores, where the awaited rank may need this one).
constexpr milliseconds kSpin(2);
constexpr microseconds kPause(50);

// Ranks that find the same bad input do so within this time of each other; rank 0 does not wait for others.
constexpr milliseconds kFirstTurn(200);
constexpr milliseconds kTurn(50);
constexpr milliseconds kAllTurns(2000);
// A rank that computes takes its notice later; the launcher's abort ends it.
constexpr milliseconds kNoticesOnTheirWay(500);
// Where the launcher is ending the job already, MPI_Abort may wait for its answer until the launcher kills.
constexpr milliseconds kAbortAnswered(1000);

}  // namespace

JobEnd::JobEnd(MPI_Comm world) : comm_(duplicate_comm(world)) {
  check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  check_mpi(MPI_Irecv(&noticed_status_, 1, MPI_INT, MPI_ANY_SOURCE, 0, comm_, &notice_), "MPI_Irecv");
}

JobEnd::~JobEnd() {
  MPI_Cancel(&notice_);
  MPI_Wait(&notice_, MPI_STATUS_IGNORE);
  MPI_Comm_free(&comm_);
}

bool JobEnd::test(std::span<MPI_Request> requests) {
  thread_local std::vector<MPI_Status> statuses;  // asked thousands of times a wait
  statuses.resize(requests.size());
  int done = 0;
  const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, statuses.data());
  if (code == MPI_ERR_IN_STATUS)
    for (const MPI_Status& status : statuses)
      if (status.MPI_ERROR != MPI_ERR_PENDING) check_mpi(status.MPI_ERROR, "communication");
  check_mpi(code, "MPI_Testall");
  return done != 0;
}

void JobEnd::wait(std::span<MPI_Request> requests) {
  const auto start = Clock::now();
  bool spinning = true;
  for (unsigned looks = 1;; ++looks) {
    if (test(requests)) return;
    if (spinning && looks % 64 != 0) continue;
    look_for_notice();
    if (spinning) {
      spinning = Clock::now() - start < kSpin;
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kPause);
    }
  }
}

ExitStatus JobEnd::finish(ExitStatus mine) {
  const int status = static_cast<int>(mine);
  int highest = status;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(&status, &highest, 1, MPI_INT, MPI_MAX, comm_, &request), "MPI_Iallreduce");
  wait(request);
  return static_cast<ExitStatus>(highest);
}

void JobEnd::fail(ExitStatus status, const std::string& message) {
  end_watch();
  const auto turn = std::min(kTurn, kAllTurns / size_);
  const auto my_turn = Clock::now() + (rank_ == 0 ? milliseconds(0) : kFirstTurn + rank_ * turn);
  do {
    look_for_notice();
    if (rank_ > 0) std::this_thread::sleep_for(milliseconds(1));
  } while (Clock::now() < my_turn);

  spdlog::log(status == ExitStatus::kStopped ? spdlog::level::info : spdlog::level::err, "{}", message);
  const int notice = static_cast<int>(status);
  std::vector<MPI_Request> requests;
  for (int peer = 0; peer < size_; ++peer)
    if (peer != rank_) MPI_Isend(&notice, 1, MPI_INT, peer, 0, comm_, &requests.emplace_back());
  int sent = 0;
  for (const auto start = Clock::now(); sent == 0 && Clock::now() - start < kNoticesOnTheirWay;)
    MPI_Testall(static_cast<int>(requests.size()), requests.data(), &sent, MPI_STATUSES_IGNORE);
  // Alone there is nobody to end, and mpirun's banner would only confuse.
  if (size_ > 1) {
    std::thread([notice] {
      std::this_thread::sleep_for(kAbortAnswered);
      end_process(notice);
    }).detach();
    MPI_Abort(comm_, notice);
  }
  end_process(notice);
}

void JobEnd::look_for_notice() {
  int arrived = 0;
  MPI_Test(&notice_, &arrived, MPI_STATUS_IGNORE);
  if (arrived != 0) end_process(noticed_status_);
}

// Not `exit`: destructors of other objects might wait for ranks that are gone.
void JobEnd::end_process(int status) {
  spdlog::default_logger()->flush();
  _exit(status);
}

}  // namespace spt
