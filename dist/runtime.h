// The process's place in the job: MPI, the device, and the one catch that turns an exception on any rank into the end
// of all ranks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/communicator.h"

namespace spt {

class JobEnd;
class StopNotice;

enum class Backend { kAuto, kNccl, kMpi };
inline std::vector<std::pair<std::string, Backend>> enum_names(Backend) {
  return {{"auto", Backend::kAuto}, {"nccl", Backend::kNccl}, {"mpi", Backend::kMpi}};
}

// By mpirun or srun: asked before MPI starts, which takes its time.
bool started_by_launcher();

class Runtime {
 public:
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // All ranks, over MPI, for CPU tensors: for start-up checks, small integers and clean agreement.
  Communicator& host_world() { return *host_world_; }
  // All ranks, for tensors on `device()`, over the backend that `connect` chose (host_world until then).
  Communicator& world() { return world_ ? *world_ : *host_world_; }
  at::Device device() const { return device_; }
  int ranks_on_device() const { return ranks_on_device_; }  // that share its memory: once connected
  bool is_staged() const { return is_staged_; }  // collectives of GPUs go through host memory: once connected

  int rank() const { return host_world_->rank(); }
  int size() const { return host_world_->size(); }
  const std::vector<std::string>& hosts() const { return hosts_; }     // by world rank
  const std::shared_ptr<JobEnd>& job_end() const { return job_end_; }  // for waits in dist/

  // Whether any rank was asked to stop, as far as this one has heard, whose own request is `asked`
  // (dist/stop_notice.h); from then on stop_requested() says so too.
  bool hears_stop(bool asked);

  // Collective. Once, or again with the same backend. Chooses the backend for device tensors: auto is NCCL where every
  // rank has a GPU of its own (told apart by UUID), MPI through pinned memory where ranks share one, MPI on the CPU.
  // Throws BadInput when `nccl` cannot be had.
  void connect(Backend backend);

 private:
  friend int run_distributed(int argc, char** argv, const std::function<ExitStatus(Runtime&)>& body);
  explicit Runtime(const std::shared_ptr<JobEnd>& job_end);
  void choose_world(Backend backend);
  // GPU (local rank modulo the host's GPUs), or CPU where no rank sees one. Throws BadInput when only some do.
  at::Device choose_device(int local_rank);
  // The lowest rank that shares each rank's GPU.
  std::vector<int> gpu_owners();

  std::shared_ptr<JobEnd> job_end_;
  std::unique_ptr<StopNotice> stop_notice_;
  std::unique_ptr<Communicator> host_world_;
  std::unique_ptr<Communicator> world_;
  Backend connected_ = Backend::kAuto;  // what world_ was made for
  at::Device device_;
  int ranks_on_device_ = 1;
  bool is_staged_ = false;
  std::vector<std::string> hosts_;
};

// Starts MPI (MPI_THREAD_SERIALIZED: backward passes on a GPU communicate from autograd's thread, one call at a time),
// sets up the log and the threads of libtorch (OMP_NUM_THREADS, else this rank's share of the cores it is bound to),
// runs `body` and returns the exit status, the highest of all ranks', after MPI_Finalize. Works alone, without mpirun.
//
// An exception on one rank ends all ranks within seconds, also those that wait in a collective: with status 1 and the
// message for BadInput (with rank@host unless it is rank 0's), else with status 2 and rank@host before it. Of ranks
// that throw at about the same time only the lowest logs its message.
//
// Collectives are watched (dist/watchdog.h) with a limit of an hour; a body that knows better sets another. Ranks send
// heartbeats to rank 0, which names who keeps the others waiting.
int run_distributed(int argc, char** argv, const std::function<ExitStatus(Runtime&)>& body);

}  // namespace spt
