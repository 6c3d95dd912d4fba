#include "trainer/eval/judgement.h"

#include <algorithm>

#include "trainer/eval/statistics.h"

namespace spt {
namespace {

enum class Outcome { kWin, kTie, kLose };

// The verdict on a's answer, whichever order it was given in.
std::optional<Outcome> outcome_of(const JudgedPair& pair) {
  if (pair.identical) return Outcome::kTie;
  if (!pair.ab || !pair.ba) return std::nullopt;
  if (pair.ab == Verdict::kFirst && pair.ba == Verdict::kSecond) return Outcome::kWin;
  if (pair.ab == Verdict::kSecond && pair.ba == Verdict::kFirst) return Outcome::kLose;
  return Outcome::kTie;
}

Share share_of(int64_t count, int64_t n) {
  if (n == 0) return {};
  const Interval interval = wilson_interval(count, n);
  return {count, n, interval.mean, interval.low, interval.high};
}

Outcomes outcomes_of(const std::vector<Outcome>& outcomes) {
  const auto count = [&](Outcome outcome) { return std::count(outcomes.begin(), outcomes.end(), outcome); };
  const auto n = static_cast<int64_t>(outcomes.size());
  const int64_t win = count(Outcome::kWin), tie = count(Outcome::kTie), lose = count(Outcome::kLose);
  return {n, share_of(win, n), share_of(tie, n), share_of(lose, n), share_of(win, win + lose)};
}

bool is_length_matched(const JudgedPair& pair, double factor) {
  const auto [fewer, more] = std::minmax(pair.words_a, pair.words_b);
  return static_cast<double>(more) <= factor * static_cast<double>(fewer);
}

bool is_consistent(const JudgedPair& pair) {
  return (pair.ab == Verdict::kTie) == (pair.ba == Verdict::kTie) && (pair.ab == Verdict::kTie || pair.ab != pair.ba);
}

void add_position_bias(const std::vector<JudgedPair>& pairs, TaskJudgement& task) {
  int64_t first = 0, second = 0, none = 0, both = 0, consistent = 0;
  for (const JudgedPair& pair : pairs) {
    for (const auto& verdict : {pair.ab, pair.ba}) {
      first += verdict == Verdict::kFirst;
      second += verdict == Verdict::kSecond;
      none += verdict == Verdict::kTie;
    }
    if (!pair.ab || !pair.ba) continue;
    ++both;
    consistent += is_consistent(pair);
  }
  const int64_t calls = first + second + none;
  task.first = share_of(first, calls);
  task.second = share_of(second, calls);
  task.none = share_of(none, calls);
  task.consistent = share_of(consistent, both);
}

}  // namespace

TaskJudgement judge_pairs(const std::string& name, const std::vector<JudgedPair>& pairs, double length_factor) {
  TaskJudgement task;
  task.name = name;
  task.pairs = static_cast<int64_t>(pairs.size());
  task.length_factor = length_factor;
  std::vector<Outcome> all, matched;
  for (const JudgedPair& pair : pairs) {
    task.mean_words_a += static_cast<double>(pair.words_a) / static_cast<double>(pairs.size());
    task.mean_words_b += static_cast<double>(pair.words_b) / static_cast<double>(pairs.size());
    const auto outcome = outcome_of(pair);
    task.identical += pair.identical;
    task.unanswered += pair.unanswered;
    task.unparsed += !outcome && !pair.unanswered;
    if (!outcome) continue;
    all.push_back(*outcome);
    if (is_length_matched(pair, length_factor)) matched.push_back(*outcome);
  }
  task.all = outcomes_of(all);
  task.length_matched = outcomes_of(matched);
  add_position_bias(pairs, task);
  return task;
}

}  // namespace spt
