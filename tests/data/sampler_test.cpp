#include "data/sampler.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace spt {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

std::vector<int64_t> epoch(int64_t number, const SamplerConfig& config) {
  std::vector<int64_t> rows;
  const int64_t steps = steps_per_epoch(config);
  for (int64_t step = number * steps; step < (number + 1) * steps; ++step) {
    const auto part = rows_for_step(step, config);
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

std::vector<int64_t> all_rows(int64_t count) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

TEST(Sampler, Epoch_IsAPermutationOfTheCorpus) {
  for (const int64_t examples : {1, 2, 63, 64, 65, 1030}) {
    const SamplerConfig config{examples, 64, 1};
    for (int64_t number = 0; number < 3; ++number)
      EXPECT_THAT(epoch(number, config), UnorderedElementsAreArray(all_rows(examples))) << examples;
  }
}

TEST(Sampler, LastBatch_IsSmallerAndKept) {
  const SamplerConfig config{1030, 64, 1};
  EXPECT_EQ(steps_per_epoch(config), 17);
  EXPECT_EQ(rows_for_step(15, config).size(), 64u);
  EXPECT_EQ(rows_for_step(16, config).size(), 6u);
  EXPECT_EQ(rows_for_step(17, config).size(), 64u);
}

TEST(Sampler, Batch_LargerThanTheCorpusTakesAll) {
  EXPECT_THAT(rows_for_step(0, {3, 64, 1}), UnorderedElementsAreArray({0, 1, 2}));
}

TEST(Sampler, Order_ChangesWithSeedAndEpoch) {
  std::set<std::vector<int64_t>> orders;
  for (const uint64_t seed : {0, 1, 2, 3})
    for (int64_t number = 0; number < 4; ++number) orders.insert(epoch(number, {100, 7, seed}));
  EXPECT_EQ(orders.size(), 16u);
}

TEST(Sampler, Order_DoesNotDependOnTheBatchSize) {
  EXPECT_EQ(epoch(2, {100, 7, 5}), epoch(2, {100, 64, 5}));
}

// The stream is part of what makes a run repeatable: these rows, computed by tests/golden/make_sampler_golden.py, must
// not change.
TEST(Sampler, Order_IsTheDocumentedOne) {
  EXPECT_THAT(rows_for_step(0, {10, 10, 1}), ElementsAre(1, 9, 6, 5, 7, 4, 3, 2, 8, 0));
  EXPECT_THAT(rows_for_step(3, {10, 10, 7}), ElementsAre(0, 1, 3, 2, 4, 5, 8, 7, 9, 6));
}

TEST(Sampler, Order_IsUniform) {
  // All 24 orders of four rows, 24,000 draws: chi-squared with 23 degrees of freedom stays below 60 but once in 30,000
  // times.
  std::map<std::vector<int64_t>, int> counts;
  for (uint64_t seed = 0; seed < 24'000; ++seed) ++counts[rows_for_step(0, {4, 4, seed})];
  EXPECT_EQ(counts.size(), 24u);
  double chi_squared = 0;
  for (const auto& [order, count] : counts) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi_squared, 60.0);
}

TEST(Sampler, Config_WithoutExamplesIsAFailure) {
  EXPECT_THROW(steps_per_epoch({0, 64, 1}), Failure);
  EXPECT_THROW(steps_per_epoch({10, 0, 1}), Failure);
}

TEST(RowsForRank, EveryRowGoesToOneRank) {
  std::vector<int64_t> lengths(64);
  for (size_t i = 0; i < lengths.size(); ++i) lengths[i] = static_cast<int64_t>(17 * i % 23 + 1);
  for (const int size : {1, 2, 3, 4, 7}) {
    std::vector<int64_t> seen;
    for (int rank = 0; rank < size; ++rank) {
      const auto rows = rows_for_rank(all_rows(64), lengths, rank, size);
      seen.insert(seen.end(), rows.begin(), rows.end());
    }
    EXPECT_THAT(seen, UnorderedElementsAreArray(all_rows(64))) << size;
  }
}

TEST(RowsForRank, RanksGetNearlyEqualTokens) {
  std::vector<int64_t> lengths(64);
  for (size_t i = 0; i < lengths.size(); ++i) lengths[i] = static_cast<int64_t>(100 + 37 * i % 501);
  std::vector<int64_t> tokens;
  for (int rank = 0; rank < 4; ++rank) {
    tokens.push_back(0);
    for (const int64_t row : rows_for_rank(all_rows(64), lengths, rank, 4))
      tokens.back() += lengths[static_cast<size_t>(row)];
  }
  const auto [least, most] = std::minmax_element(tokens.begin(), tokens.end());
  EXPECT_LT(*most - *least, *most / 50);
}

TEST(RowsForRank, GoesLongestFirstToTheRankWithFewestTokens) {
  const std::vector<int64_t> lengths = {5, 9, 4, 7};
  EXPECT_THAT(rows_for_rank(all_rows(4), lengths, 0, 2), ElementsAre(1, 2));
  EXPECT_THAT(rows_for_rank(all_rows(4), lengths, 1, 2), ElementsAre(3, 0));
}

TEST(RowsForRank, MoreRanksThanRowsLeavesSomeEmpty) {
  const std::vector<int64_t> lengths = {5, 9};
  EXPECT_THAT(rows_for_rank(all_rows(2), lengths, 2, 3), IsEmpty());
}

TEST(MicroBatches, HoldAtMostMaxTokens) {
  const std::vector<int64_t> lengths = {60, 50, 40, 30, 20, 10};
  EXPECT_THAT(micro_batches(all_rows(6), lengths, 100, true),
              ElementsAre(ElementsAre(0, 2), ElementsAre(1, 3, 4), ElementsAre(5)));
}

TEST(MicroBatches, ALongerRowStandsAlone) {
  const std::vector<int64_t> lengths = {10, 150, 20};
  EXPECT_THAT(micro_batches(all_rows(3), lengths, 100, true), ElementsAre(ElementsAre(1), ElementsAre(2, 0)));
}

TEST(MicroBatches, WithoutPackingEachRowStandsAlone) {
  const std::vector<int64_t> lengths = {10, 20, 30};
  EXPECT_THAT(micro_batches(all_rows(3), lengths, 100, false),
              ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(2)));
}

TEST(MicroBatches, OfNoRowsAreNone) {
  EXPECT_THAT(micro_batches({}, {}, 100, true), IsEmpty());
}

TEST(DealMicroBatches, PackedBeforeDealing_AreTheSameOnAnyRanks) {
  const std::vector<int64_t> lengths{60, 50, 40, 30, 20, 10, 90};
  MicroBatches expected = micro_batches(all_rows(7), lengths, 100, true);
  std::sort(expected.begin(), expected.end());
  for (const int ranks : {1, 2, 3, 4, 9}) {
    const auto dealt = deal_micro_batches(all_rows(7), lengths, ranks, {100, true, true});
    ASSERT_EQ(dealt.size(), ranks);
    MicroBatches all;
    for (const MicroBatches& mine : dealt) all.insert(all.end(), mine.begin(), mine.end());
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, expected) << ranks << " ranks";
  }
}

TEST(DealMicroBatches, OtherwiseEachRankPacksItsOwnRows) {
  const std::vector<int64_t> lengths{60, 50, 40, 30};
  const auto dealt = deal_micro_batches(all_rows(4), lengths, 2, {100, true, false});
  EXPECT_THAT(dealt, ElementsAre(micro_batches(rows_for_rank(all_rows(4), lengths, 0, 2), lengths, 100, true),
                                 micro_batches(rows_for_rank(all_rows(4), lengths, 1, 2), lengths, 100, true)));
}

}  // namespace
}  // namespace spt
