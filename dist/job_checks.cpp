#include "dist/job_checks.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <unistd.h>

#include "dist/cuda_device.h"
#include "dist/nccl_communicator.h"
#include "dist/text.h"
#include "dist/versions.h"

namespace spt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kReduced = int64_t{8} << 20;  // numbers of fp32
constexpr double kSlowGbS = 0.2;                // less than two 1 Gb/s networks
constexpr int kClockLooks = 9;
constexpr double kMostClockDifference = 1;  // seconds

size_t host_count(const Runtime& runtime) {
  return std::set(runtime.hosts().begin(), runtime.hosts().end()).size();
}

bool by_mpirun() {
  return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
}

Finding check_mpi_version() {
  constexpr const char* kAbout = "MPI";
  const char* pmix = std::getenv("PMIX_VERSION");
  const std::string version = mpi_library_version();
  const std::string found =
      fmt::format("{}, {}, {}", version, pmix != nullptr ? fmt::format("PMIx {}", pmix) : "no PMIx",
                  by_mpirun()             ? "started by mpirun"
                  : started_by_launcher() ? "started by srun or alike"
                                          : "alone");
  if (version >= "Open MPI v4.1" && version < "Open MPI v6") return {Severity::kGood, kAbout, found};
  return {Severity::kWarning, kAbout, found + ": spt is tried with Open MPI 4.1 and 5; build with one of these"};
}

// Trivially copied over the group.
struct Place {
  cpu_set_t cores;     // that this rank may run on
  cpu_set_t launcher;  // that its parent may
  int threads;
};

cpu_set_t cores_of(pid_t process) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  sched_getaffinity(process, sizeof cores, &cores);
  return cores;
}

std::vector<Place> gather_places(Communicator& world) {
  const Place mine{cores_of(0), cores_of(getppid()), at::get_num_threads()};
  std::string bytes(sizeof mine, '\0');
  std::memcpy(bytes.data(), &mine, sizeof mine);
  std::vector<Place> places(static_cast<size_t>(world.size()));
  const std::vector<std::string> all = all_gather_text(world, bytes);
  for (size_t rank = 0; rank < all.size(); ++rank) std::memcpy(&places[rank], all[rank].data(), sizeof mine);
  return places;
}

// What the ranks of one host do with its cores; empty where they do well.
std::string fault_of_host(const std::string& host, const std::vector<const Place*>& ranks) {
  cpu_set_t used;
  CPU_ZERO(&used);
  int threads = 0;
  for (const Place* place : ranks) {
    CPU_OR(&used, &used, &place->cores);
    threads += place->threads;
    if (place->threads > CPU_COUNT(&place->cores))
      return fmt::format(
          "a rank on {} has {} threads on {} core(s): OMP_NUM_THREADS={}, or more cores a rank "
          "(--bind-to none, --map-by slot:PE={})",
          host, place->threads, CPU_COUNT(&place->cores), CPU_COUNT(&place->cores), place->threads);
  }
  const int cores = CPU_COUNT(&used), given = CPU_COUNT(&ranks[0]->launcher);
  if (threads > cores)
    return fmt::format("{} threads on the {} core(s) of {}: {}", threads, cores, host,
                       static_cast<size_t>(cores) < ranks.size()
                           ? "fewer ranks"
                           : fmt::format("OMP_NUM_THREADS={}", static_cast<size_t>(cores) / ranks.size()));
  // Slurm's daemon has all cores, whatever the job was given.
  if (by_mpirun() && cores < given)
    return fmt::format("{} of the {} cores of {} are used: --bind-to none, or --map-by slot:PE={}", cores, given, host,
                       std::max<size_t>(1, static_cast<size_t>(given) / ranks.size()));
  return "";
}

Finding check_places(Runtime& runtime) {
  const std::vector<Place> places = gather_places(runtime.host_world());
  std::map<std::string, std::vector<const Place*>> hosts;
  for (size_t rank = 0; rank < places.size(); ++rank) hosts[runtime.hosts()[rank]].push_back(&places[rank]);
  std::set<size_t> ranks;
  std::set<int> threads, cores;
  std::string faults;
  for (const auto& [host, of_host] : hosts) {
    ranks.insert(of_host.size());
    for (const Place* place : of_host) threads.insert(place->threads), cores.insert(CPU_COUNT(&place->cores));
    if (faults.empty()) faults = fault_of_host(host, of_host);
  }
  std::string text =
      fmt::format("{} on {} host(s), {} a host; of each {} thread(s) on {} core(s)", runtime.size(), hosts.size(),
                  fmt::join(ranks, " or "), fmt::join(threads, " or "), fmt::join(cores, " or "));
  // Threads hardly matter where the GPU computes.
  if (faults.empty() || runtime.device().is_cuda()) return {Severity::kGood, "ranks", text};
  return {Severity::kWarning, "ranks", text + "; " + faults};
}

Finding check_all_reduce(Runtime& runtime) {
  constexpr const char* kAbout = "all-reduce";
  if (runtime.size() == 1) return {Severity::kGood, kAbout, "one rank has nobody to reduce with"};
  const at::Tensor numbers = at::ones({kReduced}, at::TensorOptions(runtime.device()).dtype(at::kFloat));
  double best = 0;
  for (int turn = 0; turn < 4; ++turn) {  // the first connects
    runtime.host_world().barrier();
    const auto begin = Clock::now();
    runtime.world().all_reduce(numbers, Reduce::kMax);
    numbers[0].item<float>();  // on a GPU: waits for it
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (turn > 0) best = best == 0 ? seconds : std::min(best, seconds);
  }
  at::Tensor slowest = at::full({}, best, at::kDouble);
  runtime.host_world().all_reduce(slowest, Reduce::kMax);
  const double seconds = slowest.item<double>(), ranks = runtime.size();
  const double gb_s = 2 * (ranks - 1) / ranks * static_cast<double>(kReduced) * sizeof(float) / seconds / 1e9;
  std::string text = fmt::format("{} MB over {} rank(s) in {:.1f} ms: {:.2f} GB/s a rank each way",
                                 kReduced * sizeof(float) >> 20, runtime.size(), 1e3 * seconds, gb_s);
  if (host_count(runtime) == 1 || gb_s >= kSlowGbS) return {Severity::kGood, kAbout, text};
  return {Severity::kWarning, kAbout,
          text +
              ": a step of a 7B model moves 27 GB; is it the fast network? (--mca btl_tcp_if_include, UCX, "
              "NCCL_SOCKET_IFNAME)"};
}

// Each look is as exact as ranks leave a barrier together; their median is within milliseconds.
Finding check_clocks(Runtime& runtime) {
  constexpr const char* kAbout = "clocks";
  if (host_count(runtime) == 1) return {Severity::kGood, kAbout, "one host has one clock"};
  Communicator& world = runtime.host_world();
  std::vector<std::vector<double>> behind(static_cast<size_t>(world.size()));  // of each rank, what rank 0 is ahead
  for (int look = 0; look < kClockLooks; ++look) {
    const at::Tensor all = at::empty({world.size()}, at::kDouble);
    world.barrier();
    const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    world.all_gather(all, at::full({1}, now, at::kDouble));
    for (size_t rank = 0; rank < behind.size(); ++rank)
      behind[rank].push_back(all.data_ptr<double>()[0] - all.data_ptr<double>()[rank]);
  }
  double most = 0;
  size_t where = 0;
  for (size_t rank = 0; rank < behind.size(); ++rank) {
    std::nth_element(behind[rank].begin(), behind[rank].begin() + kClockLooks / 2, behind[rank].end());
    if (const double median = std::abs(behind[rank][kClockLooks / 2]); median > most) most = median, where = rank;
  }
  if (most <= kMostClockDifference)
    return {Severity::kGood, kAbout, fmt::format("hosts within {:.0f} s of each other", kMostClockDifference)};
  return {Severity::kWarning, kAbout,
          fmt::format("{} is {:.1f} s from {}: let both follow a time server (chrony), or times of logs and files "
                      "mislead",
                      runtime.hosts()[where], most, runtime.hosts()[0])};
}

}  // namespace

std::vector<Finding> check_job(Runtime& runtime) {
  runtime.connect(Backend::kAuto);
  return {check_mpi_version(), check_places(runtime), check_all_reduce(runtime), check_clocks(runtime)};
}

std::vector<Finding> check_gpus(const Runtime& runtime, int ranks_here) {
  constexpr const char* kAbout = "GPUs";
  if (!built_with_cuda()) return {{Severity::kGood, kAbout, "none: this program was built without CUDA"}};
  if (runtime.device().is_cpu()) return {{Severity::kGood, kAbout, "none seen: ranks compute on the CPU"}};
  const int count = cuda_device_count();
  std::set<std::string> names;
  std::vector<std::string> apart;
  for (int i = 0; i < count; ++i) {
    names.insert(cuda_device_name(i));
    for (int j = 0; j < count; ++j)
      if (i != j && !cuda_peer_access(i, j)) apart.push_back(fmt::format("{}-{}", i, j));
  }
  const CudaVersions versions = cuda_versions();
  const auto version = [](int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); };
  std::vector<Finding> found{
      {Severity::kGood, kAbout,
       fmt::format("{} × {}; the driver takes CUDA up to {}, this program has {}; NCCL {}", count,
                   fmt::join(names, ", "), version(versions.driver), version(versions.runtime), nccl_version())}};
  if (runtime.ranks_on_device() > 1)
    found.push_back(
        {Severity::kWarning, "GPUs shared",
         fmt::format("{} ranks here, {} of them on one GPU: their collectives go through host memory; start "
                     "one rank a GPU",
                     ranks_here, runtime.ranks_on_device())});
  if (count == 1) return found;
  if (apart.empty())
    found.push_back({Severity::kGood, "GPUs joined", "each reaches each other's memory"});
  else
    found.push_back({Severity::kWarning, "GPUs joined",
                     fmt::format("no access to each other's memory from {}: NCCL goes through the host's; look at "
                                 "nvidia-smi topo -m, at IOMMU and ACS settings",
                                 fmt::join(apart, ", "))});
  return found;
}

}  // namespace spt
