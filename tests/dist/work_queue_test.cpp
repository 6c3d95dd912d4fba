#include "dist/work_queue.h"

#include <numeric>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ranks.h"

namespace spt {
namespace {

constexpr int64_t kPortions = 100;

// How often each portion was taken, over the first tp ranks of all dp ranks.
std::vector<int64_t> counted(const std::vector<int64_t>& mine, const Mesh& mesh) {
  const at::Tensor counts = at::zeros({kPortions}, at::kLong);
  if (mesh.place.tp_rank == 0)
    for (const int64_t portion : mine) counts.data_ptr<int64_t>()[portion] += 1;
  job().host_world().all_reduce(counts);
  return {counts.data_ptr<int64_t>(), counts.data_ptr<int64_t>() + kPortions};
}

std::vector<int64_t> take_all(WorkQueue& queue) {
  std::vector<int64_t> mine;
  while (const auto portion = queue.take()) {
    mine.push_back(*portion);
    queue.serve();
  }
  queue.close();
  return mine;
}

TEST(Queue, EveryPortion_IsTakenOnceAndInOrder) {
  const Mesh mesh(job(), {});
  WorkQueue queue(job(), mesh, kPortions);
  const std::vector<int64_t> mine = take_all(queue);
  EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
  EXPECT_EQ(counted(mine, mesh), std::vector<int64_t>(kPortions, 1));
  EXPECT_FALSE(queue.take().has_value());
}

TEST(Queue, OfNothing_EndsAtOnce) {
  const Mesh mesh(job(), {});
  WorkQueue queue(job(), mesh, 0);
  EXPECT_TRUE(take_all(queue).empty());
}

TEST(Queue, TensorParallelRanks_GetTheSame) {
  if (job().size() % 2 != 0) GTEST_SKIP() << "needs an even number of ranks";
  const Mesh mesh(job(), {.tp = 2});
  WorkQueue queue(job(), mesh, kPortions);
  const std::vector<int64_t> mine = take_all(queue);
  EXPECT_EQ(counted(mine, mesh), std::vector<int64_t>(kPortions, 1));
  at::Tensor sum = at::full({1}, std::accumulate(mine.begin(), mine.end(), int64_t{0}), at::kLong);
  const int64_t before = sum.item<int64_t>();
  mesh.tp->all_reduce(sum);
  EXPECT_EQ(sum.item<int64_t>(), 2 * before);
}

// The last rank takes one portion and comes back when all others are taken: it has that one and the one it had asked
// for.
TEST(Queue, SlowRank_GetsFewerAndHoldsNobodyUp) {
  if (job().size() < 3) GTEST_SKIP() << "needs three ranks";
  const Mesh mesh(job(), {});
  const int last = job().size() - 1;
  // The owner may not wait outside the queue while others ask.
  const std::unique_ptr<Communicator> others = job().host_world().split(job().rank() == 0 ? 0 : 1, job().rank());
  WorkQueue queue(job(), mesh, kPortions);
  std::vector<int64_t> mine;
  if (job().rank() == last) {
    mine.push_back(*queue.take());
    others->barrier();
  }
  while (const auto portion = queue.take()) mine.push_back(*portion);
  if (job().rank() != last && job().rank() != 0) others->barrier();
  queue.close();
  EXPECT_EQ(counted(mine, mesh), std::vector<int64_t>(kPortions, 1));
  if (job().rank() == last) EXPECT_LE(mine.size(), 2U);
}

TEST(Queue, ClosedEarly_DealsNoMore) {
  const Mesh mesh(job(), {});
  WorkQueue queue(job(), mesh, kPortions);
  const auto first = queue.take();
  queue.close();
  EXPECT_FALSE(queue.take().has_value());
  EXPECT_TRUE(job().rank() != 0 || first.has_value());
}

}  // namespace
}  // namespace spt
