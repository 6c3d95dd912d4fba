// The dp × tp grid of ranks. A tp group is made of ranks of one host, next to each other; dp runs across.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dist/runtime.h"

namespace spt {

// Whether dp communicates while its ranks compute.
enum class CommOverlap { kAuto, kOn, kOff };
inline std::vector<std::pair<std::string, CommOverlap>> enum_names(CommOverlap) {
  return {{"auto", CommOverlap::kAuto}, {"on", CommOverlap::kOn}, {"off", CommOverlap::kOff}};
}

struct MeshConfig {
  int tp = 1;
  bool tp_across_hosts = false;
  Backend backend = Backend::kAuto;
  CommOverlap overlap = CommOverlap::kAuto;

  template <class F>
  void fields(F& f) {
    f("tp", tp, "ranks that share one copy of the model (tensor parallel); dp = ranks / tp");
    f("tp_across_hosts", tp_across_hosts, "allow a tensor-parallel group to span hosts");
    f("backend", backend, "collectives of device tensors: auto, nccl or mpi");
    f("overlap", overlap,
      "reduce gradients and gather weights while computing: auto (GPUs over NCCL; CPU ranks where dp spans hosts), on, "
      "off");
  }
  void validate(std::vector<std::string>& errors) const {
    if (tp < 1) errors.push_back("tp is " + std::to_string(tp) + ", must be at least 1");
  }
};

struct MeshPlace {
  int dp_rank = 0;
  int tp_rank = 0;
};

// The place of each world rank, from the hosts by world rank: ranks are ordered by (first appearance of their host,
// world rank) and cut into runs of `tp`, so the launcher's mapping does not matter. Throws BadInput, naming the
// possible values, when tp does not divide the ranks, or a group would cross hosts and may not.
std::vector<MeshPlace> mesh_places(const std::vector<std::string>& hosts, const MeshConfig& config);

// Whether dp overlaps on ranks at these places; `is_staged`: collectives of GPUs go through host memory, where every
// one is waited for. Throws BadInput where it is asked for and cannot be.
bool overlaps(const std::vector<std::string>& hosts, const std::vector<MeshPlace>& places, const MeshConfig& config,
              at::Device device, bool is_staged);

// Collective; calls runtime.connect(config.backend), after the checks of mesh_places.
struct Mesh {
  Mesh(Runtime& runtime, const MeshConfig& config);

  // Groups with their ranks and hosts, the first few, a line each ("[dp 0] ranks 0@a 1@a": those that share the model
  // of dp rank 0), for the log.
  std::string overview() const;

  const std::vector<std::string> hosts;         // by world rank
  const std::vector<MeshPlace> places;          // by world rank
  const MeshPlace place;                        // mine
  Communicator& world;                          // dp × tp, device tensors
  const bool overlap;                           // dp communicates while its ranks compute
  const std::unique_ptr<Communicator> dp;       // ranks with my tp_rank, by dp_rank
  const std::unique_ptr<Communicator> tp;       // ranks with my dp_rank, by tp_rank
  const std::unique_ptr<Communicator> host_tp;  // the same ones over MPI, for what the host decides
};

}  // namespace spt
