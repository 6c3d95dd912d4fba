// One behaviour suite over every backend, against an oracle that knows the inputs of all ranks.
#include "dist/communicator.h"

#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include "dist/cuda_device.h"
#include "dist/job_end.h"
#include "dist/mpi_call.h"
#include "dist/mpi_communicator.h"
#include "dist/nccl_communicator.h"
#include "dist/staged_communicator.h"
#include "tests/ranks.h"

namespace spt {
namespace {

enum class Kind { kMpi, kMpiSmallPieces, kStaged, kStagedSmallPieces, kGpuStaged, kGpuNccl };

bool on_gpu(Kind kind) {
  return kind == Kind::kGpuStaged || kind == Kind::kGpuNccl;
}

// A few elements at a time, so that every loop over pieces runs often and ends with a partial piece; messages that end
// inside an element.
constexpr int64_t kFewBytes = 40;

std::unique_ptr<Communicator> mpi_group(MpiCommunicator::Limits limits = {}) {
  return std::make_unique<MpiCommunicator>(duplicate_comm(MPI_COMM_WORLD), std::make_shared<JobEnd>(MPI_COMM_WORLD),
                                           limits);
}

std::unique_ptr<Communicator> make_group(Kind kind) {
  switch (kind) {
    case Kind::kMpi:
      return mpi_group();
    case Kind::kMpiSmallPieces:
      return mpi_group({.scratch_bytes = kFewBytes, .message_bytes = 13});
    case Kind::kStaged:
      return std::make_unique<StagedCommunicator>(mpi_group(), at::kCPU);
    case Kind::kStagedSmallPieces:
      return std::make_unique<StagedCommunicator>(mpi_group(), at::kCPU, kFewBytes);
    case Kind::kGpuStaged:
      return std::make_unique<StagedCommunicator>(mpi_group(), job().device());
    case Kind::kGpuNccl:
      return make_nccl_communicator(mpi_group(), job().device());
  }
  return nullptr;
}

const std::vector<at::ScalarType> kTypes = {at::kFloat, at::kDouble, at::kBFloat16, at::kLong, at::kInt, at::kByte};
// Nothing, fewer than ranks, odd, and more than the size up to which all_reduce gathers whole tensors.
const std::vector<int64_t> kSizes = {0, 1, 2, 7, 1001, 20011};
const std::vector<int64_t> kSizesOfSmallPieces = {0, 1, 2, 7, 61};

// Rank `rank`'s input: different on every rank and of magnitudes that make the order of a sum visible in its last bits.
at::Tensor input(int rank, int64_t numel, at::ScalarType type) {
  const at::Tensor index = at::arange(numel, at::kLong);
  const at::Tensor noise = (index * 7919 + rank * 104729 + index * index * 31).remainder(1009);
  if (type == at::kByte) return noise.remainder(200).to(type);
  if (at::isIntegralType(type, false)) return (noise - 500).to(type);
  return ((noise - 504).to(at::kDouble) * (rank % 2 == 0 ? 0.37 : 37.1)).to(type);
}

at::Tensor reduced(int ranks, int64_t numel, at::ScalarType type, Reduce op) {
  const at::ScalarType wide = type == at::kBFloat16 ? at::kFloat : type;
  at::Tensor result = input(0, numel, type).to(wide);
  for (int rank = 1; rank < ranks; ++rank) {
    const at::Tensor next = input(rank, numel, type).to(wide);
    result = op == Reduce::kSum ? result + next : at::maximum(result, next);
  }
  return result.to(type);
}

at::Tensor gathered(int ranks, int64_t numel, at::ScalarType type) {
  std::vector<at::Tensor> all;
  for (int rank = 0; rank < ranks; ++rank) all.push_back(input(rank, numel, type));
  return at::cat(all);
}

class EveryBackend : public testing::TestWithParam<std::tuple<Kind, at::ScalarType>> {
 protected:
  void SetUp() override {
    if (on_gpu(kind()) && !job().device().is_cuda()) GTEST_SKIP() << "no GPU visible here";
    if (kind() == Kind::kGpuNccl && job().size() > cuda_device_count()) GTEST_SKIP() << "ranks share a GPU";
    group_ = make_group(kind());
  }

  Kind kind() const { return std::get<0>(GetParam()); }
  const std::vector<int64_t>& sizes() const {
    return kind() == Kind::kMpiSmallPieces || kind() == Kind::kStagedSmallPieces ? kSizesOfSmallPieces : kSizes;
  }
  at::ScalarType type() const { return std::get<1>(GetParam()); }
  Communicator& group() { return *group_; }
  at::Tensor mine(int64_t numel) { return here(input(group().rank(), numel, type())); }
  at::Tensor here(const at::Tensor& x) { return x.to(group().device()); }

  // Bit for bit, but for sums of floating-point numbers by NCCL, whose order and rounding are its own.
  void expect_sum(const at::Tensor& actual, const at::Tensor& expected) {
    if (kind() != Kind::kGpuNccl || at::isIntegralType(type(), false)) return expect_bits(actual, expected);
    const double tolerance = type() == at::kBFloat16 ? 3e-2 : 1e-5;
    EXPECT_TRUE(at::allclose(actual.cpu(), expected, tolerance, 10 * tolerance));
  }
  void expect_bits(const at::Tensor& actual, const at::Tensor& expected) {
    EXPECT_TRUE(at::equal(actual.cpu(), expected)) << "numel " << expected.numel();
  }

 private:
  std::unique_ptr<Communicator> group_;
};

TEST_P(EveryBackend, AllReduce_SumsInRankOrder) {
  for (const int64_t numel : sizes()) {
    const at::Tensor x = mine(numel);
    group().all_reduce(x);
    expect_sum(x, reduced(group().size(), numel, type(), Reduce::kSum));
  }
}

TEST_P(EveryBackend, AllReduce_TakesTheMaximum) {
  for (const int64_t numel : sizes()) {
    const at::Tensor x = mine(numel);
    group().all_reduce(x, Reduce::kMax);
    expect_bits(x, reduced(group().size(), numel, type(), Reduce::kMax));
  }
}

TEST_P(EveryBackend, AllReduce_KeepsTheShape) {
  const at::Tensor x = mine(12).view({3, 4});
  group().all_reduce(x);
  expect_sum(x, reduced(group().size(), 12, type(), Reduce::kSum).view({3, 4}));
}

TEST_P(EveryBackend, AllReduce_GivesTheSameBitsOnEveryRank) {
  const at::Tensor x = mine(sizes().back());
  group().all_reduce(x);
  const at::Tensor bytes = x.cpu().view(at::kByte);
  const at::Tensor all = at::empty({job().size() * bytes.numel()}, at::kByte);
  job().host_world().all_gather(all, bytes);
  for (const at::Tensor& other : all.chunk(job().size())) EXPECT_TRUE(at::equal(other, bytes));
}

TEST_P(EveryBackend, ReduceScatter_GivesMyBlockOfTheSum) {
  for (const int64_t block : sizes()) {
    const int64_t numel = block * group().size();
    const at::Tensor in = mine(numel), before = in.clone();
    const at::Tensor out = here(at::zeros({block}, type()));
    group().reduce_scatter(out, in);
    const at::Tensor sum = reduced(group().size(), numel, type(), Reduce::kSum);
    expect_sum(out, sum.narrow(0, block * group().rank(), block));
    EXPECT_TRUE(at::equal(in, before)) << "the input changed";
  }
}

TEST_P(EveryBackend, ReduceScatter_WritesIntoMyBlockOfTheInput) {
  for (const int64_t block : sizes()) {
    const int64_t numel = block * group().size();
    const at::Tensor in = mine(numel);
    const at::Tensor out = in.narrow(0, block * group().rank(), block);
    group().reduce_scatter(out, in);
    expect_sum(out, reduced(group().size(), numel, type(), Reduce::kSum).narrow(0, block * group().rank(), block));
  }
}

TEST_P(EveryBackend, AllGather_PutsBlocksInRankOrder) {
  for (const int64_t block : sizes()) {
    const at::Tensor in = mine(block);
    const at::Tensor out = here(at::zeros({block * group().size()}, type()));
    group().all_gather(out, in);
    expect_bits(out, gathered(group().size(), block, type()));
  }
}

TEST_P(EveryBackend, AllGather_TakesMyBlockOfTheOutput) {
  for (const int64_t block : sizes()) {
    const at::Tensor out = here(at::zeros({block * group().size()}, type()));
    const at::Tensor in = out.narrow(0, block * group().rank(), block);
    in.copy_(mine(block));
    group().all_gather(out, in);
    expect_bits(out, gathered(group().size(), block, type()));
  }
}

// Several under way at once, blocking calls in between, and ranks that look after them more or less often.
TEST_P(EveryBackend, BegunCollectives_GiveWhatBlockingOnesGive) {
  for (const int64_t block : sizes()) {
    const int64_t numel = block * group().size();
    const at::Tensor in = mine(numel), in_place = mine(numel), blocking = mine(numel);
    const at::Tensor apart = here(at::zeros({block}, type()));
    const at::Tensor own = in_place.narrow(0, block * group().rank(), block);
    const at::Tensor all = here(at::zeros({numel}, type()));
    Begun into_apart = group().begin_reduce_scatter(apart, in);
    Begun of_all = group().begin_all_gather(all, mine(block));
    for (int look = 0; look < 3 * group().rank(); ++look) advance_begun();
    Begun into_own = group().begin_reduce_scatter(own, in_place);
    group().all_reduce(blocking);
    group().barrier();
    into_apart.finish();
    advance_begun();
    into_own.finish();
    of_all.finish();
    of_all.finish();  // nothing more

    const at::Tensor sum = reduced(group().size(), numel, type(), Reduce::kSum);
    expect_sum(blocking, sum);
    expect_sum(apart, sum.narrow(0, block * group().rank(), block));
    expect_sum(own, sum.narrow(0, block * group().rank(), block));
    expect_bits(all, gathered(group().size(), block, type()));
  }
}

TEST_P(EveryBackend, Broadcast_GivesTheRootsTensorToAll) {
  for (int root = 0; root < group().size(); ++root) {
    for (const int64_t numel : sizes()) {
      const at::Tensor x = mine(numel);
      group().broadcast(x, root);
      expect_bits(x, input(root, numel, type()));
    }
  }
}

TEST_P(EveryBackend, Split_GroupsByColourAndOrdersByKey) {
  // Colours with gaps; keys that turn the order of ranks around.
  const int color = group().rank() % 2 == 0 ? 7 : 100, key = -group().rank();
  const std::unique_ptr<Communicator> part = group().split(color, key);
  std::vector<int> members;
  for (int rank = group().size() - 1; rank >= 0; --rank)
    if (rank % 2 == group().rank() % 2) members.push_back(rank);
  ASSERT_EQ(part->size(), static_cast<int>(members.size()));
  EXPECT_EQ(members[static_cast<size_t>(part->rank())], group().rank());
  EXPECT_EQ(part->device(), group().device());

  const at::Tensor out = here(at::zeros({5 * part->size()}, type()));
  part->all_gather(out, mine(5));
  std::vector<at::Tensor> expected;
  for (const int rank : members) expected.push_back(input(rank, 5, type()));
  expect_bits(out, at::cat(expected));
  part->barrier();
  group().barrier();
}

TEST_P(EveryBackend, Collectives_WriteToLeavesThatRequireGradients) {
  if (!at::isFloatingType(type())) return;
  const at::Tensor x = mine(7).requires_grad_(true);
  group().all_reduce(x);
  expect_sum(x.detach(), reduced(group().size(), 7, type(), Reduce::kSum));
  EXPECT_TRUE(x.is_leaf());
}

std::string test_name(const testing::TestParamInfo<std::tuple<Kind, at::ScalarType>>& info) {
  const std::vector<std::string> names = {"Mpi",       "MpiSmallPieces", "Staged", "StagedSmallPieces",
                                          "GpuStaged", "GpuNccl"};
  return names[static_cast<size_t>(std::get<0>(info.param))] + "_" + c10::toString(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(All, EveryBackend,
                         testing::Combine(testing::Values(Kind::kMpi, Kind::kMpiSmallPieces, Kind::kStaged,
                                                          Kind::kStagedSmallPieces, Kind::kGpuStaged, Kind::kGpuNccl),
                                          testing::ValuesIn(kTypes)),
                         test_name);

TEST(Communicator, Moves_KeepTheBitsOfEveryNumber) {
  const at::Tensor x = at::tensor({-0.0, 1.0 / 0.0, 0.0 / 0.0, 5e-324}, at::kDouble), expected = x.clone();
  job().host_world().broadcast(x, 0);
  EXPECT_TRUE(at::equal(x.view(at::kLong), expected.view(at::kLong)));
}

TEST(Communicator, BrokenInvariants_AreRefusedOnEveryRankBeforeCommunicating) {
  Communicator& world = job().host_world();
  const int size = world.size();
  const at::Tensor x = at::zeros({4, 4});
  const auto refuses = [](auto call, const std::string& reason) {
    try {
      call();
      ADD_FAILURE() << "accepted, though " << reason;
    } catch (const c10::Error& error) {
      EXPECT_THAT(error.what_without_backtrace(), testing::HasSubstr(reason));
    }
  };
  refuses([&] { world.all_reduce(x.t()); }, "contiguous");
  refuses([&] { world.all_reduce(x.to(at::kHalf)); }, "Half");
  refuses([&] { world.all_reduce(at::Tensor()); }, "contiguous");
  refuses([&] { world.all_reduce(at::zeros({2}, at::TensorOptions().device(at::kMeta))); }, "meta");
  refuses([&] { world.all_gather(at::zeros({3 * size + 1}), at::zeros({3})); }, "elements");
  refuses([&] { world.reduce_scatter(at::zeros({3}), at::zeros({3 * size + 1})); }, "elements");
  refuses([&] { world.all_gather(at::zeros({size}), at::zeros({1}, at::kDouble)); }, "Double");
  refuses([&] { world.broadcast(x, size); }, "root");
  const at::Tensor whole = at::zeros({2 * size + 1});
  refuses([&] { world.all_gather(whole.narrow(0, 0, 2 * size), whole.narrow(0, 2 * world.rank() + 1, 2)); }, "overlap");
}

}  // namespace
}  // namespace spt
