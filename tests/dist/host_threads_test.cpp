#include "dist/host_threads.h"

#include <gtest/gtest.h>

namespace spt {
namespace {

cpu_set_t cores(int begin, int end) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (int core = begin; core < end; ++core) CPU_SET(core, &mask);
  return mask;
}

TEST(ThreadsOfRank, UnboundRanks_DivideTheHostsCores) {
  const std::vector<cpu_set_t> masks(3, cores(0, 8));
  EXPECT_EQ(threads_of_rank(masks, 0), 2);
  EXPECT_EQ(threads_of_rank({cores(0, 8)}, 0), 8);
}

TEST(ThreadsOfRank, RanksBoundToTheirOwnCores_UseThemAll) {
  const std::vector<cpu_set_t> masks = {cores(0, 4), cores(4, 8)};
  EXPECT_EQ(threads_of_rank(masks, 0), 4);
  EXPECT_EQ(threads_of_rank(masks, 1), 4);
}

TEST(ThreadsOfRank, MoreRanksThanCores_GetOneEach) {
  EXPECT_EQ(threads_of_rank(std::vector<cpu_set_t>(4, cores(0, 2)), 3), 1);
}

}  // namespace
}  // namespace spt
