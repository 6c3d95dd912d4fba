#include "data/lengths.h"

#include <numeric>

#include <gtest/gtest.h>

namespace spt {
namespace {

TEST(Lengths, QuantilesAreOfTheNearestRank) {
  std::vector<int64_t> lengths(100);
  std::iota(lengths.rbegin(), lengths.rend(), 1);  // 100 … 1
  const Lengths found = summarize(lengths);
  EXPECT_EQ(found.count, 100);
  EXPECT_EQ(found.total, 5050);
  EXPECT_EQ(found.p5, 5);
  EXPECT_EQ(found.p50, 50);
  EXPECT_EQ(found.p95, 95);
  EXPECT_EQ(found.max, 100);
}

TEST(Lengths, OfOneThingAllQuantilesAreIt) {
  const Lengths found = summarize({7});
  EXPECT_EQ(found.p5, 7);
  EXPECT_EQ(found.p95, 7);
  EXPECT_EQ(summarize({}).max, 0);
}

TEST(Histogram, CountsEveryLengthOnce) {
  const std::vector<HistogramBin> bins = histogram({3, 9, 10, 17, 59}, 6);
  ASSERT_EQ(bins.size(), 6U);
  EXPECT_EQ(bins[0].begin, 0);
  EXPECT_EQ(bins[0].end, 10);
  EXPECT_EQ(bins[0].count, 2);
  EXPECT_EQ(bins[1].count, 2);
  EXPECT_EQ(bins[5].begin, 50);
  EXPECT_EQ(bins[5].count, 1);
}

TEST(Histogram, WidensItsBinsUntilTheyAreFewEnough) {
  for (const int64_t longest : {1, 16, 17, 200, 2048, 1'000'000}) {
    const std::vector<HistogramBin> bins = histogram({0, longest}, 16);
    EXPECT_LE(bins.size(), 16U) << longest;
    EXPECT_GE(bins.size(), longest < 2 ? 2U : 6U) << longest;
    EXPECT_EQ(bins.front().count + bins.back().count, 2) << longest;
  }
  EXPECT_TRUE(histogram({}, 16).empty());
}

}  // namespace
}  // namespace spt
