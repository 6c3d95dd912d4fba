#include "dist/mesh.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ranks.h"

namespace spt {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using Hosts = std::vector<std::string>;

MeshConfig with_tp(int tp, bool across = false) {
  MeshConfig config;
  config.tp = tp;
  config.tp_across_hosts = across;
  return config;
}

// "dp.tp" of every rank.
std::vector<std::string> places(const Hosts& hosts, const MeshConfig& config) {
  std::vector<std::string> texts;
  for (const MeshPlace& place : mesh_places(hosts, config))
    texts.push_back(std::to_string(place.dp_rank) + "." + std::to_string(place.tp_rank));
  return texts;
}

std::string refusal(const Hosts& hosts, const MeshConfig& config) {
  try {
    mesh_places(hosts, config);
  } catch (const BadInput& error) {
    return error.what();
  }
  return "accepted";
}

TEST(MeshPlaces, NeighboursOnOneHost_ShareAModel) {
  EXPECT_THAT(places({"a", "a", "a", "a"}, with_tp(2)), ElementsAre("0.0", "0.1", "1.0", "1.1"));
  EXPECT_THAT(places({"a", "a", "a"}, with_tp(1)), ElementsAre("0.0", "1.0", "2.0"));
  EXPECT_THAT(places({"a", "a", "a"}, with_tp(3)), ElementsAre("0.0", "0.1", "0.2"));
}

TEST(MeshPlaces, RanksDealtOverHosts_AreStillGroupedByHost) {
  EXPECT_THAT(places({"b", "a", "b", "a"}, with_tp(2)), ElementsAre("0.0", "1.0", "0.1", "1.1"));
  EXPECT_THAT(places({"a", "b", "c", "a", "b", "c"}, with_tp(2)),
              ElementsAre("0.0", "1.0", "2.0", "0.1", "1.1", "2.1"));
}

TEST(Overlaps, Auto_WhereAGroupOfDpSpansHosts) {
  const auto on = [](const Hosts& hosts, MeshConfig config, at::Device device = at::kCPU, bool is_staged = false) {
    return overlaps(hosts, mesh_places(hosts, config), config, device, is_staged);
  };
  EXPECT_FALSE(on({"a"}, with_tp(1)));
  EXPECT_FALSE(on({"a", "a"}, with_tp(1)));
  EXPECT_TRUE(on({"a", "a", "b"}, with_tp(1)));
  EXPECT_TRUE(on({"a", "a", "b", "b"}, with_tp(2)));
  EXPECT_FALSE(on({"a", "b"}, with_tp(2, true))) << "dp is 1";
  EXPECT_TRUE(on({"a", "a"}, with_tp(1), at::kCUDA)) << "GPUs overlap within a host too";
  EXPECT_FALSE(on({"a"}, with_tp(1), at::kCUDA)) << "dp is 1";
  EXPECT_FALSE(on({"a", "a"}, with_tp(2), at::kCUDA)) << "dp is 1";
  EXPECT_FALSE(on({"a", "b"}, with_tp(1), at::kCUDA, true)) << "each collective is waited for";
  MeshConfig config = with_tp(1);
  config.overlap = CommOverlap::kOff;
  EXPECT_FALSE(on({"a", "b"}, config));
  EXPECT_FALSE(on({"a", "b"}, config, at::kCUDA));
  config.overlap = CommOverlap::kOn;
  EXPECT_TRUE(on({"a", "a"}, config));
  EXPECT_FALSE(on({"a"}, config)) << "dp is 1";
  EXPECT_TRUE(on({"a", "a"}, config, at::kCUDA));
  EXPECT_THROW(on({"a", "b"}, config, at::kCUDA, true), BadInput);
}

TEST(MeshPlaces, UnevenHosts_AreAcceptedWhereGroupsFit) {
  EXPECT_THAT(places({"a", "a", "b", "b", "b", "b"}, with_tp(2)),
              ElementsAre("0.0", "0.1", "1.0", "1.1", "2.0", "2.1"));
}

TEST(MeshPlaces, GroupAcrossHosts_IsRefusedNamingHostsAndPossibleValues) {
  EXPECT_THAT(refusal({"a", "a", "b", "b"}, with_tp(4)),
              AllOf(HasSubstr("mesh.tp is 4"), HasSubstr("hosts a and b"), HasSubstr("possible: 1, 2;"),
                    HasSubstr("mesh.tp_across_hosts=true")));
  EXPECT_THAT(refusal({"a", "b", "b", "b"}, with_tp(2)), AllOf(HasSubstr("ranks 0, 1"), HasSubstr("possible: 1;")));
}

TEST(MeshPlaces, GroupAcrossHosts_IsMadeWhenAllowed) {
  EXPECT_THAT(places({"a", "b", "a", "b"}, with_tp(4, true)), ElementsAre("0.0", "0.2", "0.1", "0.3"));
}

TEST(MeshPlaces, TpThatDoesNotDivideTheRanks_IsRefusedNamingThePossibleValues) {
  EXPECT_THAT(refusal(Hosts(6, "a"), with_tp(4)),
              AllOf(HasSubstr("mesh.tp is 4"), HasSubstr("6 rank(s)"), HasSubstr("possible: 1, 2, 3, 6")));
  for (const int tp : {0, -2}) EXPECT_THAT(refusal({"a", "a"}, with_tp(tp)), HasSubstr("possible: 1, 2"));
  EXPECT_THAT(refusal({"a"}, with_tp(2)), HasSubstr("possible: 1"));
}

TEST(Mesh, Groups_FollowThePlaces) {
  const int size = job().size(), rank = job().rank(), width = size % 2 == 0 ? 2 : size;
  const Mesh mesh(job(), with_tp(width));
  EXPECT_EQ(mesh.tp->size(), width);
  EXPECT_EQ(mesh.dp->size(), size / width);
  EXPECT_EQ(mesh.tp->rank(), mesh.place.tp_rank);
  EXPECT_EQ(mesh.dp->rank(), mesh.place.dp_rank);
  EXPECT_EQ(mesh.place.dp_rank, rank / width);
  EXPECT_EQ(mesh.world.size(), size);
  EXPECT_EQ(mesh.world.device(), job().device());

  const at::Tensor members = at::zeros({width}, at::TensorOptions(job().device()).dtype(at::kInt));
  mesh.tp->all_gather(members, at::full({1}, rank, members.options()));
  EXPECT_EQ(members[0].item<int>(), rank - rank % width);

  EXPECT_THAT(mesh.overview(),
              HasSubstr("mesh: dp " + std::to_string(size / width) + " × tp " + std::to_string(width)));
  EXPECT_THAT(mesh.overview(), HasSubstr("[dp 0] ranks 0@" + job().hosts()[0]));
  EXPECT_THAT(mesh.overview(), HasSubstr("[tp 0] ranks 0@" + job().hosts()[0]));
}

}  // namespace
}  // namespace spt
