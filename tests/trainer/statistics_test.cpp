#include "trainer/eval/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>

#include <gmock/gmock.h>

#include "tests/trainer/messages.h"

namespace spt {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<PairedItem> scores(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<PairedItem> items;
  for (size_t i = 0; i < a.size(); ++i) items.push_back({std::to_string(1000 + i), std::nullopt, a[i], b[i]});
  return items;
}

Estimate compared(const std::vector<PairedItem>& items, const Resampling& resampling = {}) {
  const std::vector<PairedUnit> units = paired_units(items);
  const Means means = means_of(units);
  return estimate(means.a - means.b, resampled_differences(units, resampling, "task"));
}

// 200 items of ten groups; a is right where b is, and at some items more.
std::vector<PairedItem> grouped_items() {
  std::mt19937_64 random(7);
  std::vector<PairedItem> items;
  for (int i = 0; i < 200; ++i) {
    const bool is_hard = i % 10 < 5;
    const double b = random() % 100 < (is_hard ? 20 : 80) ? 1 : 0;
    const double a = is_hard && random() % 2 == 0 ? 1 : b;
    items.push_back({std::to_string(i), "group " + std::to_string(i % 10), a, b});
  }
  return items;
}

std::array<double, 4> numbers(const Estimate& found) {
  return {found.value, found.low, found.high, found.p};
}

TEST(Statistics, IdenticalRuns_DifferByNothing) {
  std::vector<PairedItem> items = grouped_items();
  for (PairedItem& item : items) item.a = item.b = item.b / 3;
  for (const bool has_groups : {true, false}) {
    if (!has_groups)
      for (PairedItem& item : items) item.group.reset();
    EXPECT_THAT(numbers(compared(items)), ElementsAre(0, 0, 0, 1));
  }
}

TEST(Statistics, OrderOfItems_ChangesNoBit) {
  std::vector<PairedItem> items = grouped_items();
  std::mt19937_64 random(1);
  for (const bool has_groups : {true, false}) {
    for (PairedItem& item : items) {
      item.a /= 3;
      if (!has_groups) item.group.reset();
    }
    const Estimate expected = compared(items);
    for (int i = 0; i < 3; ++i) {
      std::shuffle(items.begin(), items.end(), random);
      EXPECT_EQ(numbers(compared(items)), numbers(expected));
    }
  }
}

TEST(Statistics, SwappedSides_MirrorTheResult) {
  std::vector<PairedItem> items = grouped_items();
  const Estimate forth = compared(items);
  for (PairedItem& item : items) std::swap(item.a, item.b);
  const Estimate back = compared(items);
  EXPECT_NEAR(back.low, -forth.high, 1e-12);
  EXPECT_NEAR(back.high, -forth.low, 1e-12);
  EXPECT_EQ(back.p, forth.p);
}

// Machines and versions agree. The sums were computed by a program of its own, in Python.
TEST(Statistics, Resamples_AreTheSameEverywhere) {
  const std::vector<PairedUnit> units = paired_units(scores({1, 10, 100}, {0, 0, 0}));
  const std::vector<double> found = resampled_differences(units, {4, 1}, "task");
  std::vector<int> sums;
  for (const double mean : found) sums.push_back(static_cast<int>(std::lround(mean * 3)));
  EXPECT_THAT(sums, ElementsAre(21, 111, 12, 102));
}

TEST(Statistics, Resamples_DrawEveryUnitEquallyOften) {
  std::vector<double> values(7, 0.0);
  for (size_t i = 0; i < values.size(); ++i) {
    std::vector<double> a(7, 0.0);
    a[i] = 1;
    double sum = 0;
    for (const double mean : resampled_differences(paired_units(scores(a, values)), {20'000, 3}, "x")) sum += mean;
    EXPECT_NEAR(sum / 20'000, 1.0 / 7, 5 * std::sqrt(1.0 / 7 * 6 / 7 / 140'000)) << "unit " << i;
  }
}

TEST(Statistics, TasksAndSeeds_HaveRandomNumbersOfTheirOwn) {
  const std::vector<PairedUnit> units = paired_units(grouped_items());
  EXPECT_NE(resampled_differences(units, {100, 1}, "x"), resampled_differences(units, {100, 1}, "y"));
  EXPECT_NE(resampled_differences(units, {100, 1}, "x"), resampled_differences(units, {100, 2}, "x"));
}

// Items 0, 1, …: the mean of differences has the standard error √(Σ(d − d̄)²)/n, and the interval is close to ±1.96 of
// it.
TEST(Statistics, IntervalOfManyItems_IsTheNormalOne) {
  std::mt19937_64 random(5);
  std::vector<double> a, b;
  for (int i = 0; i < 2'000; ++i) {
    a.push_back(static_cast<double>(random() % 1000) / 1000);
    b.push_back(static_cast<double>(random() % 1000) / 1000);
  }
  double mean = 0, squares = 0;
  for (size_t i = 0; i < a.size(); ++i) mean += (a[i] - b[i]) / 2'000;
  for (size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i] - mean) * (a[i] - b[i] - mean);
  const double error = std::sqrt(squares) / 2'000;
  const Estimate found = compared(scores(a, b));
  EXPECT_NEAR(found.value, mean, 1e-12);
  EXPECT_NEAR(found.low, mean - 1.96 * error, 0.1 * error);
  EXPECT_NEAR(found.high, mean + 1.96 * error, 0.1 * error);
  EXPECT_NEAR(found.p, std::erfc(std::abs(mean) / error / std::sqrt(2)), 0.02);
}

TEST(Statistics, Groups_AreDrawnWholeAndWeighByTheirItems) {
  std::vector<PairedItem> items = scores({1, 1, 1, 0}, {0, 0, 0, 0});
  for (size_t i = 0; i < items.size(); ++i) items[i].group = i < 3 ? "large" : "small";
  const std::vector<PairedUnit> units = paired_units(items);
  EXPECT_EQ(units.size(), 2);
  EXPECT_DOUBLE_EQ(means_of(units).a, 0.75);  // over items, not 0.5 over groups
  // Two draws of two groups: only small, one of each, only large.
  for (const double mean : resampled_differences(units, {200, 1}, "x"))
    EXPECT_THAT(mean, testing::AnyOf(0, 0.75, 1)) << mean;
}

TEST(Statistics, OneGroup_IsResampledByItem) {
  std::vector<PairedItem> items = grouped_items();
  for (PairedItem& item : items) item.group = "all";
  EXPECT_EQ(paired_units(items).size(), items.size());
}

TEST(Statistics, Losses_AreRatiosOfSums) {
  const Means means = means_of(paired_units({{"x", {}, 2, 4, 2}, {"y", {}, 6, 2, 6}}));
  EXPECT_DOUBLE_EQ(means.a, 1);
  EXPECT_DOUBLE_EQ(means.b, 0.75);
}

TEST(Statistics, MeanOverTasks_IsTakenResampleByResample) {
  EXPECT_THAT(mean_over_tasks({{1, 2}, {3, 6}}), ElementsAre(2, 4));
}

// Quantiles of 0, 1, …, 40 at 0.025 and 0.975 are 1 and 39. From 20, only 0 and 40 lie as far as 20 lies from 0: k = 2
// of 41.
TEST(Statistics, Estimate_HasPercentilesAndACentredP) {
  std::vector<double> resampled;
  for (int i = 40; i >= 0; --i) resampled.push_back(i);
  const Estimate found = estimate(20, resampled);
  EXPECT_NEAR(found.low, 1, 1e-12);
  EXPECT_NEAR(found.high, 39, 1e-12);
  EXPECT_DOUBLE_EQ(found.p, 3.0 / 42);
  EXPECT_NEAR(estimate(1, {0, 1}).low, 0.025, 1e-12);   // between order statistics
  EXPECT_DOUBLE_EQ(estimate(5, {5, 5, 5}).p, 1.0 / 4);  // never 0
}

// 2·Σ C(n, k)/2ⁿ: 0 of 5: 2/32; 1 of 6: 2·7/64; 5 against 15 (Agresti's way of writing it): 2·21700/2²⁰.
TEST(Statistics, McNemar_IsTheExactBinomialTest) {
  EXPECT_NEAR(mcnemar_p(0, 5), 2.0 / 32, 1e-14);
  EXPECT_NEAR(mcnemar_p(5, 1), 14.0 / 64, 1e-14);
  EXPECT_NEAR(mcnemar_p(15, 5), 2 * 21700.0 / 1048576, 1e-13);
  EXPECT_EQ(mcnemar_p(15, 5), mcnemar_p(5, 15));
  EXPECT_EQ(mcnemar_p(0, 0), 1);
  EXPECT_EQ(mcnemar_p(4, 4), 1);
  EXPECT_THAT(mcnemar_p(0, 4000), testing::AllOf(testing::Ge(0), testing::Lt(1e-300)));
}

// Holm's procedure by hand: 4·0.005, 3·0.01, 2·0.03, then 0.04 raised to what stands before it.
TEST(Statistics, Holm_StepsDown) {
  EXPECT_THAT(holm({0.01, 0.04, 0.03, 0.005}), ElementsAre(DoubleNear(0.03, 1e-15), DoubleNear(0.06, 1e-15),
                                                           DoubleNear(0.06, 1e-15), DoubleNear(0.02, 1e-15)));
  EXPECT_THAT(holm({0.9, 0.6}), ElementsAre(1, 1));
  EXPECT_THAT(holm({0.2}), ElementsAre(0.2));
}

// The usual table's column of 0.975.
TEST(Statistics, StudentsT_IsThatOfTheTable) {
  for (const auto& [degrees, expected] : {std::pair{1, 12.70620474},
                                          {2, 4.30265273},
                                          {3, 3.18244631},
                                          {4, 2.77644511},
                                          {5, 2.57058184},
                                          {9, 2.26215716},
                                          {30, 2.04227246},
                                          {100, 1.98397152}})
    EXPECT_NEAR(student_t_quantile(degrees), expected, 1e-8) << degrees;
}

TEST(Statistics, IntervalOverSeeds_NeedsThree) {
  EXPECT_FALSE(t_interval({1, 2}));
  const auto found = t_interval({1, 2, 3});  // s = 1
  ASSERT_TRUE(found);
  EXPECT_DOUBLE_EQ(found->mean, 2);
  EXPECT_NEAR(found->low, 2 - 4.30265273 / std::sqrt(3), 1e-8);
  EXPECT_NEAR(found->high, 2 + 4.30265273 / std::sqrt(3), 1e-8);
}

TEST(Statistics, WhatCannotBeCompared_IsRefused) {
  const auto message = [](const std::vector<PairedItem>& items) { return bad_input_of([&] { paired_units(items); }); };
  EXPECT_THAT(message({}), HasSubstr("at least 2"));
  EXPECT_THAT(message(scores({1}, {1})), HasSubstr("at least 2"));
  EXPECT_THAT(message(scores({1, std::nan("")}, {1, 1})), testing::AllOf(HasSubstr("1001"), HasSubstr("finite")));
  EXPECT_THAT(message(scores({1, 1}, {std::numeric_limits<double>::infinity(), 1})), HasSubstr("finite"));
  EXPECT_THAT(message({{"x", {}, 1, 1, 0}, {"y", {}, 1, 1, 1}}), testing::AllOf(HasSubstr("x"), HasSubstr("above 0")));
}

}  // namespace
}  // namespace spt
