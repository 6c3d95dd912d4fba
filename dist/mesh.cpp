#include "dist/mesh.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <unordered_map>

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

namespace spt {
namespace {

// World ranks, those of one host next to each other, hosts in the order of their first rank.
std::vector<size_t> ranks_by_host(const std::vector<std::string>& hosts) {
  std::unordered_map<std::string, size_t> first;  // rank of a host
  for (size_t rank = 0; rank < hosts.size(); ++rank) first.try_emplace(hosts[rank], rank);
  std::vector<size_t> order(hosts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return first.at(hosts[a]) < first.at(hosts[b]); });
  return order;
}

// The ranks of the first group of `tp` that spans hosts, or none.
std::vector<size_t> group_across_hosts(const std::vector<std::string>& hosts, const std::vector<size_t>& order,
                                       size_t tp) {
  for (size_t begin = 0; begin < order.size(); begin += tp)
    if (hosts[order[begin]] != hosts[order[begin + tp - 1]])
      return {order.begin() + static_cast<std::ptrdiff_t>(begin),
              order.begin() + static_cast<std::ptrdiff_t>(begin + tp)};
  return {};
}

std::vector<size_t> divisors(size_t n) {
  std::vector<size_t> found;
  for (size_t d = 1; d <= n; ++d)
    if (n % d == 0) found.push_back(d);
  return found;
}

}  // namespace

std::vector<MeshPlace> mesh_places(const std::vector<std::string>& hosts, const MeshConfig& config) {
  const std::vector<size_t> order = ranks_by_host(hosts);
  std::vector<size_t> possible;
  for (const size_t tp : divisors(hosts.size()))
    if (config.tp_across_hosts || group_across_hosts(hosts, order, tp).empty()) possible.push_back(tp);

  if (config.tp < 1 || hosts.size() % static_cast<size_t>(config.tp) != 0)
    throw BadInput(fmt::format("mesh.tp is {}, which does not divide the {} rank(s); possible: {}", config.tp,
                               hosts.size(), fmt::join(possible, ", ")));
  const auto tp = static_cast<size_t>(config.tp);
  if (std::find(possible.begin(), possible.end(), tp) == possible.end()) {
    const std::vector<size_t> group = group_across_hosts(hosts, order, tp);
    throw BadInput(
        fmt::format("mesh.tp is {}, but ranks {} would then share a model across the hosts {} and {}; "
                    "possible: {}; or another number of ranks a host; or, slow, mesh.tp_across_hosts=true",
                    tp, fmt::join(group, ", "), hosts[group.front()], hosts[group.back()], fmt::join(possible, ", ")));
  }

  std::vector<MeshPlace> places(hosts.size());
  for (size_t i = 0; i < order.size(); ++i) places[order[i]] = {static_cast<int>(i / tp), static_cast<int>(i % tp)};
  return places;
}

bool overlaps(const std::vector<std::string>& hosts, const std::vector<MeshPlace>& places, const MeshConfig& config,
              at::Device device, bool is_staged) {
  if (config.overlap == CommOverlap::kOn && is_staged)
    throw BadInput(
        "mesh.overlap is on, but collectives of these GPUs go through host memory and MPI, where they are waited for; "
        "use auto, or give every rank a GPU of its own and leave mesh.backend at auto");
  if (is_staged || config.overlap == CommOverlap::kOff) return false;
  // Ranks of one host share its cores and its memory: what moves the data takes it from computing. GPUs have streams.
  const bool within_hosts = !device.is_cpu() || config.overlap == CommOverlap::kOn;
  std::map<int, std::string> first_host;  // of the group of this tp_rank
  for (size_t rank = 0; rank < places.size(); ++rank) {
    const auto [first, is_first] = first_host.try_emplace(places[rank].tp_rank, hosts[rank]);
    if (!is_first && (within_hosts || first->second != hosts[rank])) return true;
  }
  return false;
}

namespace {

Communicator& connected_world(Runtime& runtime, Backend backend) {
  runtime.connect(backend);
  return runtime.world();
}

std::unique_ptr<Communicator> part(const Communicator& world, const char* kind, int color, int key) {
  std::unique_ptr<Communicator> group = world.split(color, key);
  group->set_name(kind, color);
  return group;
}

}  // namespace

Mesh::Mesh(Runtime& runtime, const MeshConfig& config)
    : hosts(runtime.hosts()),
      places(mesh_places(hosts, config)),
      place(places[static_cast<size_t>(runtime.rank())]),
      world(connected_world(runtime, config.backend)),
      overlap(overlaps(hosts, places, config, runtime.device(), runtime.is_staged())),
      dp(part(world, "dp", place.tp_rank, place.dp_rank)),
      tp(part(world, "tp", place.dp_rank, place.tp_rank)),
      host_tp(part(runtime.host_world(), "host tp", place.dp_rank, place.tp_rank)) {}

std::string Mesh::overview() const {
  constexpr int kGroups = 8, kMembers = 16;  // that are named
  std::string text =
      fmt::format("mesh: dp {} × tp {}{}", dp->size(), tp->size(), overlap ? ", overlapped with computing" : "");
  const auto add = [&](const char* kind, int index, int MeshPlace::*coordinate) {
    text += fmt::format("\n[{} {}] ranks", kind, index);
    // By place: neighbours in the group are neighbours in the line.
    std::vector<size_t> members;
    for (size_t rank = 0; rank < places.size(); ++rank)
      if (places[rank].*coordinate == index) members.push_back(rank);
    std::sort(members.begin(), members.end(), [&](size_t a, size_t b) {
      return std::pair(places[a].dp_rank, places[a].tp_rank) < std::pair(places[b].dp_rank, places[b].tp_rank);
    });
    for (size_t i = 0; i < members.size() && i < kMembers; ++i)
      text += fmt::format(" {}@{}", members[i], hosts[members[i]]);
    if (members.size() > kMembers) text += fmt::format(" … {} more", members.size() - kMembers);
  };
  const auto add_all = [&](const char* kind, int count, int MeshPlace::*coordinate) {
    for (int index = 0; index < std::min(count, kGroups); ++index) add(kind, index, coordinate);
    if (count > kGroups) text += fmt::format("\n… {} groups more of kind {}", count - kGroups, kind);
  };
  add_all("dp", dp->size(), &MeshPlace::dp_rank);
  add_all("tp", tp->size(), &MeshPlace::tp_rank);
  return text;
}

}  // namespace spt
