#include "trainer/eval/judgement.h"

#include <gmock/gmock.h>

#include "trainer/eval/statistics.h"

namespace spt {
namespace {

using V = Verdict;

JudgedPair pair_of(std::optional<V> ab, std::optional<V> ba, int64_t words_a = 10, int64_t words_b = 10) {
  JudgedPair pair;
  pair.ab = ab;
  pair.ba = ba;
  pair.words_a = words_a;
  pair.words_b = words_b;
  return pair;
}

TEST(Wilson, Interval_IsThatOfTheLiterature) {
  // Newcombe, Stat. Med. 17 (1998), table I, method 3: 81/263, 15/148, 0/20, 1/29.
  const auto expect = [](int64_t count, int64_t n, double low, double high) {
    const Interval found = wilson_interval(count, n);
    EXPECT_DOUBLE_EQ(found.mean, static_cast<double>(count) / static_cast<double>(n));
    EXPECT_NEAR(found.low, low, 5e-5) << count << "/" << n;
    EXPECT_NEAR(found.high, high, 5e-5) << count << "/" << n;
  };
  expect(81, 263, 0.2553, 0.3662);
  expect(15, 148, 0.0624, 0.1605);
  expect(0, 20, 0.0, 0.1611);
  expect(1, 29, 0.0061, 0.1718);
  EXPECT_EQ(wilson_interval(0, 7).low, 0);
  EXPECT_EQ(wilson_interval(7, 7).high, 1);
  EXPECT_DOUBLE_EQ(wilson_interval(7, 7).low, 1 - wilson_interval(0, 7).high);
}

TEST(Judgement, APairIsWonWhereBothOrdersNameTheAnswerAndElseATie) {
  const TaskJudgement task =
      judge_pairs("t",
                  {pair_of(V::kFirst, V::kSecond), pair_of(V::kFirst, V::kSecond), pair_of(V::kSecond, V::kFirst),
                   pair_of(V::kFirst, V::kFirst), pair_of(V::kSecond, V::kSecond), pair_of(V::kTie, V::kTie),
                   pair_of(V::kFirst, V::kTie), pair_of(V::kTie, V::kFirst)},
                  1);
  EXPECT_EQ(task.pairs, 8);
  EXPECT_EQ(task.all.n, 8);
  EXPECT_EQ(task.all.win.count, 2);
  EXPECT_EQ(task.all.lose.count, 1);
  EXPECT_EQ(task.all.tie.count, 5);
  EXPECT_EQ(task.all.win.share, 0.25);
  EXPECT_EQ(task.all.win.low, wilson_interval(2, 8).low);
  EXPECT_EQ(task.all.win_without_ties.n, 3);
  EXPECT_DOUBLE_EQ(task.all.win_without_ties.share, 2.0 / 3);
  EXPECT_EQ(task.first.n, 16);
  EXPECT_DOUBLE_EQ(task.first.share, 7.0 / 16);
  EXPECT_DOUBLE_EQ(task.second.share, 5.0 / 16);
  EXPECT_DOUBLE_EQ(task.none.share, 4.0 / 16);
  EXPECT_DOUBLE_EQ(task.consistent.share, 4.0 / 8);
}

TEST(Judgement, AJudgeThatAlwaysNamesTheFirstLeavesTiesAndABiasOfOne) {
  const TaskJudgement task = judge_pairs("t", {30, pair_of(V::kFirst, V::kFirst)}, 1);
  EXPECT_EQ(task.all.tie.share, 1);
  EXPECT_EQ(task.first.share, 1);
  EXPECT_EQ(task.consistent.share, 0);
  EXPECT_EQ(task.all.win_without_ties.n, 0);
}

TEST(Judgement, PairsWithoutAVerdictAreLeftOutAndCounted) {
  JudgedPair lost = pair_of(std::nullopt, V::kFirst);
  lost.unanswered = true;
  JudgedPair same = pair_of(std::nullopt, std::nullopt);
  same.identical = true;
  const TaskJudgement task = judge_pairs("t",
                                         {pair_of(V::kFirst, std::nullopt), pair_of(std::nullopt, std::nullopt), lost,
                                          same, pair_of(V::kFirst, V::kSecond)},
                                         1);
  EXPECT_EQ(task.pairs, 5);
  EXPECT_EQ(task.all.n, 2);
  EXPECT_EQ(task.unparsed, 2);
  EXPECT_EQ(task.unanswered, 1);
  EXPECT_EQ(task.identical, 1);
  EXPECT_EQ(task.all.tie.count, 1);
  EXPECT_EQ(task.first.n, 4);       // verdicts there are
  EXPECT_EQ(task.consistent.n, 1);  // identical answers say nothing of the judge
}

TEST(Judgement, PairsOfMatchedLengthDifferByTheFactorAtMost) {
  const auto matched = [](int64_t a, int64_t b) {
    return judge_pairs("t", {pair_of(V::kFirst, V::kSecond, a, b)}, 1.25).length_matched.n;
  };
  EXPECT_EQ(matched(100, 125), 1);
  EXPECT_EQ(matched(125, 100), 1);
  EXPECT_EQ(matched(100, 126), 0);
  EXPECT_EQ(matched(126, 100), 0);
  EXPECT_EQ(matched(0, 0), 1);
  EXPECT_EQ(matched(0, 1), 0);
  const TaskJudgement task =
      judge_pairs("t", {pair_of(V::kFirst, V::kSecond, 10, 40), pair_of(V::kSecond, V::kFirst, 20, 20)}, 1.25);
  EXPECT_EQ(task.length_matched.n, 1);
  EXPECT_EQ(task.length_matched.lose.share, 1);
  EXPECT_EQ(task.mean_words_a, 15);
  EXPECT_EQ(task.mean_words_b, 30);
}

TEST(Judgement, WithoutAnyPairThereIsNoShare) {
  const TaskJudgement task = judge_pairs("t", {pair_of(std::nullopt, std::nullopt)}, 1);
  EXPECT_EQ(task.all.win.n, 0);
  EXPECT_EQ(task.first.n, 0);
  EXPECT_EQ(task.consistent.n, 0);
}

}  // namespace
}  // namespace spt
