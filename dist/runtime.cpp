#include "dist/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <string_view>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <mpi.h>
#include <sched.h>

#include "base/log.h"
#include "base/stop.h"
#include "dist/cuda_device.h"
#include "dist/heartbeat_collector.h"
#include "dist/host_threads.h"
#include "dist/job_end.h"
#include "dist/mpi_call.h"
#include "dist/mpi_communicator.h"
#include "dist/nccl_communicator.h"
#include "dist/staged_communicator.h"
#include "dist/stop_notice.h"
#include "dist/text.h"
#include "dist/watchdog.h"

namespace spt {
namespace {

// Of a collective, until a configuration says otherwise.
constexpr double kStartLimitSeconds = 3600;

bool in_environment(const char* name) {
  return std::getenv(name) != nullptr;
}

constexpr const char* kLessMemory =
    "\na training takes less with a lower train.micro_batch_tokens, model.recompute=block, a higher mesh.tp or more "
    "ranks: "
    "`spt plan` says how much";

// On the CPU libtorch throws a plain error.
bool is_out_of_memory(const c10::Error& error) {
  return dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
         std::string_view(error.what_without_backtrace()).find("not enough memory") != std::string_view::npos;
}

class MpiSession {
 public:
  MpiSession(int argc, char** argv) {
    // Alone, Open MPI would start a daemon `orted`, which compute nodes may not have.
    if (!started_by_launcher()) setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
    // Open MPI's "put" over TCP asks for each piece of a message by another one, which waits behind the data that goes
    // the same way: two ranks that send to each other at once then get half of a slow link (docs/performance.md).
    setenv("OMPI_MCA_btl_tcp_flags", "send,inplace", 0);
    constexpr int64_t kPieceBytes = int64_t{1} << 17;
    setenv("OMPI_MCA_pml_ob1_send_pipeline_depth", std::to_string(kLookBytes / kPieceBytes).c_str(), 0);
    int provided = MPI_THREAD_SINGLE;
    check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
    // Open MPI reports errors of non-blocking collectives here, whatever their communicator.
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    if (provided < MPI_THREAD_SERIALIZED) throw Failure("this MPI cannot be called from more than one thread");
  }
  ~MpiSession() { MPI_Finalize(); }
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
};

// Such a job would be N jobs of one rank that write the same files.
void check_launcher(int size) {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  if (size == 1 && !started_by_launcher() && tasks != nullptr && std::atoi(tasks) > 1)
    throw BadInput(fmt::format("srun started {} tasks, but MPI sees each alone; use `srun --mpi=pmix`", tasks));
}

std::string host_name() {
  std::string name(MPI_MAX_PROCESSOR_NAME, '\0');
  int size = 0;
  check_mpi(MPI_Get_processor_name(name.data(), &size), "MPI_Get_processor_name");
  name.resize(static_cast<size_t>(size));
  return name;
}

std::vector<cpu_set_t> gather_masks(Communicator& local) {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof(mine), &mine);
  std::vector<cpu_set_t> masks(static_cast<size_t>(local.size()));
  const auto bytes = static_cast<int64_t>(sizeof(mine));
  const at::Tensor all = at::empty({local.size() * bytes}, at::kByte), one = at::empty({bytes}, at::kByte);
  std::memcpy(one.data_ptr(), &mine, sizeof(mine));
  local.all_gather(all, one);
  std::memcpy(masks.data(), all.data_ptr(), all.nbytes());
  return masks;
}

std::unique_ptr<Communicator> ranks_of_this_host(const std::shared_ptr<JobEnd>& job_end) {
  MPI_Comm local = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local), "MPI_Comm_split_type");
  check_mpi(MPI_Comm_set_errhandler(local, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return std::make_unique<MpiCommunicator>(local, job_end);
}

void choose_threads(Communicator& local) {
  const std::vector<cpu_set_t> masks = gather_masks(local);
  if (!in_environment("OMP_NUM_THREADS")) at::set_num_threads(threads_of_rank(masks, local.rank()));
}

void start_heartbeats(Runtime& runtime, std::optional<HeartbeatCollector>& collector) {
  if (runtime.size() == 1) return;
  if (runtime.rank() == 0) collector.emplace(runtime.hosts());
  const std::string address = broadcast_text(runtime.host_world(), collector ? collector->address() : "");
  if (!address.empty()) send_heartbeats(address, runtime.hosts()[0]);
}

}  // namespace

bool started_by_launcher() {
  return in_environment("OMPI_COMM_WORLD_SIZE") || in_environment("PMIX_RANK") || in_environment("PMI_RANK");
}

Runtime::~Runtime() = default;

Runtime::Runtime(const std::shared_ptr<JobEnd>& job_end)
    : job_end_(job_end),
      stop_notice_(std::make_unique<StopNotice>(MPI_COMM_WORLD)),
      host_world_(std::make_unique<MpiCommunicator>(duplicate_comm(MPI_COMM_WORLD), job_end)),
      device_(at::kCPU) {
  check_launcher(size());
  watch_collectives(kStartLimitSeconds, "the built-in limit");
  watch_as(rank(), host_name());
  host_world_->set_name("job", 0);
  hosts_ = all_gather_text(*host_world_, host_name());
  const std::unique_ptr<Communicator> local = ranks_of_this_host(job_end);
  choose_threads(*local);
  device_ = choose_device(local->rank());
  ranks_on_device_ = local->size();
  spdlog::info("{} rank(s), {} of them on {}, {} thread(s) each there, device {}", size(), local->size(),
               hosts_[static_cast<size_t>(rank())], at::get_num_threads(), device_.str());
}

at::Device Runtime::choose_device(int local_rank) {
  const int gpus = cuda_device_count();
  // The first ranks that see a GPU and that see none, size() where there is none.
  const at::Tensor first = at::full({2}, -size(), at::kInt);
  first.data_ptr<int>()[gpus > 0 ? 0 : 1] = -rank();
  host_world_->all_reduce(first, Reduce::kMax);
  const auto with = static_cast<size_t>(-first.data_ptr<int>()[0]);
  const auto without = static_cast<size_t>(-first.data_ptr<int>()[1]);
  if (with == hosts_.size()) return at::kCPU;
  if (without < hosts_.size())
    throw BadInput(
        fmt::format("rank {} on {} sees a GPU, rank {} on {} sees none; give every rank one, or none with "
                    "CUDA_VISIBLE_DEVICES= on all hosts",
                    with, hosts_[with], without, hosts_[without]));
  const int index = local_rank % gpus;
  set_cuda_device(index);
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

std::vector<int> Runtime::gpu_owners() {
  const std::vector<std::string> uuids = all_gather_text(*host_world_, cuda_device_uuid(device_.index()));
  std::vector<int> owners;
  for (const std::string& uuid : uuids)
    owners.push_back(static_cast<int>(std::find(uuids.begin(), uuids.end(), uuid) - uuids.begin()));
  return owners;
}

bool Runtime::hears_stop(bool asked) {
  const bool heard = stop_notice_->heard(asked);
  if (heard) request_stop();
  return heard;
}

void Runtime::connect(Backend backend) {
  if (world_ && backend == connected_) return;
  TORCH_INTERNAL_ASSERT(!world_, "groups of the first backend may be in use");
  connected_ = backend;
  choose_world(backend);
  world_->set_name("world", 0);
}

void Runtime::choose_world(Backend backend) {
  std::unique_ptr<Communicator> ranks = host_world_->split(0, rank());
  if (device_.is_cpu()) {
    world_ = backend == Backend::kNccl ? make_nccl_communicator(std::move(ranks), device_) : std::move(ranks);
    return;
  }
  const std::vector<int> owners = gpu_owners();
  ranks_on_device_ = static_cast<int>(std::count(owners.begin(), owners.end(), owners[static_cast<size_t>(rank())]));
  for (int sharer = 0; sharer < size() && backend != Backend::kMpi; ++sharer) {
    const int owner = owners[static_cast<size_t>(sharer)];
    if (owner == sharer) continue;
    const std::string& host = hosts_[static_cast<size_t>(sharer)];
    if (backend == Backend::kNccl)
      throw BadInput(
          fmt::format("mesh.backend is nccl, but ranks {} and {} on {} share a GPU, which NCCL refuses; start at "
                      "most one rank a GPU, or use mesh.backend=auto or mpi",
                      owner, sharer, host));
    spdlog::info("ranks {} and {} on {} share a GPU: collectives go through host memory and MPI", owner, sharer, host);
    backend = Backend::kMpi;
  }
  is_staged_ = backend == Backend::kMpi;
  world_ = is_staged_ ? std::make_unique<StagedCommunicator>(std::move(ranks), device_)
                      : make_nccl_communicator(std::move(ranks), device_);
}

int run_distributed(int argc, char** argv, const std::function<ExitStatus(Runtime&)>& body) {
  setup_log(0, 1);
  try {
    const MpiSession session(argc, argv);
    const auto job_end = std::make_shared<JobEnd>(MPI_COMM_WORLD);
    int rank = 0, size = 1;
    check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
    setup_log(rank, size);
    std::optional<HeartbeatCollector> collector;  // on rank 0; also while another object is on its way down
    try {
      Runtime runtime(job_end);
      start_heartbeats(runtime, collector);
      const ExitStatus status = job_end->finish(body(runtime));
      end_watch();
      return static_cast<int>(status);
    } catch (const BadInput& error) {
      // Where rank 0 sees nothing wrong, the place is what matters: a file that one host lacks.
      job_end->fail(ExitStatus::kBadInput,
                    rank == 0 ? error.what() : fmt::format("{} (seen by rank {}@{})", error.what(), rank, host_name()));
    } catch (const Stopped& stopped) {
      job_end->fail(ExitStatus::kStopped, stopped.what());
    } catch (const c10::Error& error) {
      job_end->fail(ExitStatus::kFailure,
                    fmt::format("rank {}@{}: {}{}", rank, host_name(), error.what_without_backtrace(),
                                is_out_of_memory(error) ? kLessMemory : ""));
    } catch (const std::bad_alloc&) {
      job_end->fail(ExitStatus::kFailure, fmt::format("rank {}@{}: out of memory{}", rank, host_name(), kLessMemory));
    } catch (const std::exception& error) {
      look_for_culprit();
      job_end->fail(ExitStatus::kFailure, fmt::format("rank {}@{}: {}", rank, host_name(), error.what()));
    }
  } catch (const std::exception& error) {
    spdlog::error("MPI: {}", error.what());
    return static_cast<int>(ExitStatus::kFailure);
  }
}

}  // namespace spt
