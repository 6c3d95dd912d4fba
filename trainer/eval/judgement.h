// What a judge's verdicts say of two models, a and b, whose answers it saw in pairs, each in both orders.
//
// A pair is a win of a where both orders name its answer, a loss where both name b's, and a tie otherwise: orders that
// disagree say more of the judge than of the answers. Answers that are equal are a tie that nobody was asked for. A
// pair without a verdict in one of its orders is none of the three: it is left out and counted. Intervals are of 95 %
// (statistics.h: wilson_interval), with pairs taken as independent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/eval/judge.h"

namespace spt {

struct JudgedPair {
  int64_t words_a = 0, words_b = 0;  // of the answers as the judge sees them (data/word_ngrams.h)
  bool identical = false;            // not asked for
  bool unanswered = false;           // an order got no reply
  std::optional<Verdict> ab, ba;     // with a's answer first, and with b's
};

struct Share {
  int64_t count = 0, n = 0;
  double share = 0, low = 0, high = 0;  // meaningless where n is 0
};

struct Outcomes {
  int64_t n = 0;  // pairs with an outcome
  Share win, tie, lose;
  Share win_without_ties;  // of the pairs that are no tie
};

struct TaskJudgement {
  std::string name;
  int64_t pairs = 0;  // n and those that are left out
  Outcomes all;
  Outcomes length_matched;  // of pairs whose numbers of words differ by at most a factor
  double length_factor = 1;
  int64_t identical = 0;   // among the ties
  int64_t unparsed = 0;    // left out: no verdict in one of the orders
  int64_t unanswered = 0;  // left out: no reply in one of the orders
  // Of all verdicts in both orders; of pairs with a verdict in both.
  Share first, second, none, consistent;
  double mean_words_a = 0, mean_words_b = 0;  // over all pairs
};

TaskJudgement judge_pairs(const std::string& task, const std::vector<JudgedPair>& pairs, double length_factor);

// Shares of fewer pairs than this say nothing.
inline constexpr int64_t kFewPairs = 20;

}  // namespace spt
