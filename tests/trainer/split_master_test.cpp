#include "trainer/optim/split_master.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

namespace spt {
namespace {

// Every upper half with a few lower ones: halves, their neighbours and the ends.
TEST(SplitMaster, JoinedAgain_IsTheSameNumberToTheBit) {
  for (const int64_t low : {0x0000, 0x0001, 0x7fff, 0x8000, 0x8001, 0xffff}) {
    const at::Tensor bits = (at::arange(1 << 16, at::kLong) * (1 << 16) + low).to(at::kInt);
    const at::Tensor master = bits.view(at::kFloat);
    at::Tensor upper = at::empty({1 << 16}, at::kBFloat16), lower = at::empty({1 << 16}, at::kShort);
    split_master(master, upper, lower);
    const at::Tensor numbers = master.isnan().logical_not(), joined = join_master(upper, lower);
    EXPECT_TRUE(at::equal(joined.view(at::kInt).masked_select(numbers), bits.masked_select(numbers)))
        << "lower half " << low;
    EXPECT_TRUE(at::equal(joined.isnan(), master.isnan())) << "lower half " << low;
    EXPECT_TRUE(at::equal(upper.isnan(), master.isnan())) << "lower half " << low;
  }
}

TEST(SplitMaster, TheUpperHalf_IsTheNearestBf16) {
  const at::Tensor master = at::sin(at::arange(10000, at::kFloat)) * 3;
  at::Tensor upper = at::empty({10000}, at::kBFloat16), lower = at::empty({10000}, at::kShort);
  split_master(master, upper, lower);
  EXPECT_TRUE(at::equal(upper, master.to(at::kBFloat16)));
  const at::Tensor half = at::full({1}, 1.00390625F);  // between two bf16 numbers, of which torch takes the even one
  at::Tensor up = at::empty({1}, at::kBFloat16), low = at::empty({1}, at::kShort);
  split_master(half, up, low);
  EXPECT_EQ(up.item<float>(), 1.0078125F);
  EXPECT_EQ(low.item<int16_t>(), -32768);
}

}  // namespace
}  // namespace spt
