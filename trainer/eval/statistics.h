// Paired statistics of two models, a and b, that answered the same items.
//
// A model's result is Σ value / Σ weight over its items: the mean of the scores (weight 1), or the loss a token (value:
// an example's Σ −log p, weight: its trained tokens). Differences are a − b. Intervals are of 95 %.
//
// Bootstrap (Efron & Tibshirani 1993, chapters 13 and 16): a resample draws as many units as there are, with
// replacement. A unit is an item, or, where items have groups (MMLU's subjects), a group with all its items, since
// items of one group are alike; the estimator stays the one over items, so a large group weighs more. Bootstraps of few
// units are too sure: their intervals are too narrow and their p too small.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace spt {

inline constexpr double kConfidence = 0.95;

struct PairedItem {
  std::string id;
  std::optional<std::string> group;
  double a = 0, b = 0;  // values
  double weight = 1;    // above 0
};

// What a resample draws as a whole: sums over its items.
struct PairedUnit {
  double a = 0, b = 0, weight = 0;
};

// A unit a group, by the order of their names, where the items have two groups or more; else a unit an item, by the
// order of their ids. So the order of `items` changes no bit of any result. Throws BadInput: fewer than two items; a
// value that is not finite; a weight that is not above 0.
std::vector<PairedUnit> paired_units(std::vector<PairedItem> items);

struct Means {
  double a = 0, b = 0;
};
// Σ value / Σ weight of each side.
Means means_of(const std::vector<PairedUnit>& units);

struct Resampling {
  int64_t count = 10'000;
  uint64_t seed = 1;
};

// The difference a − b of each resample. `stream` (the task's name) and the seed choose the random numbers:
// std::mt19937_64 seeded with text_hash(stream, seed), an index below n from the upper 32 bits of each number by
// Lemire's multiplication with rejection (arXiv 1805.10941). So machines agree, tasks are independent, and other tasks
// beside this one change nothing.
std::vector<double> resampled_differences(const std::vector<PairedUnit>& units, const Resampling& resampling,
                                          const std::string& stream);

// Element by element, the mean over tasks of what resampled_differences gave for each: resampled within each task,
// tasks weighing the same.
std::vector<double> mean_over_tasks(const std::vector<std::vector<double>>& resampled);

struct Estimate {
  double value = 0;
  double low = 0, high = 0;  // the interval
  double p = 1;              // two-sided, of value = 0
};

// The percentile interval (quantiles interpolated linearly between order statistics), and p = (k + 1) / (B + 1), where
// k of the B resamples lie at least as far from `value` as `value` lies from 0: the bootstrap distribution moved to the
// centre 0.
Estimate estimate(double value, std::vector<double> resampled);

// McNemar's exact test: of the items that one side alone answered right, a fair coin would divide as unevenly or more
// with probability p (two-sided binomial; 1 where there are none). It takes items as independent, also those of one
// group.
double mcnemar_p(int64_t only_a, int64_t only_b);

// Holm's step-down correction (Scand. J. Statist. 6, 1979): adjusted p in the order given.
std::vector<double> holm(const std::vector<double>& p);

// The quantile of Student's t that leaves (1 − kConfidence) / 2 above it; degrees ≥ 1.
double student_t_quantile(int64_t degrees);

struct Interval {
  double mean = 0, low = 0, high = 0;
};

// Of `count` in n > 0 independent trials: the share, and Wilson's score interval (J. Am. Stat. Assoc. 22, 1927,
// 209–212)
//
//   (p + z²/2n ± z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n),   z = 1.96
//
// which stays inside 0 to 1 and keeps its coverage for small n and shares near 0 or 1 (Brown, Cai & DasGupta, Stat.
// Sci. 16, 2001, 101–133).
Interval wilson_interval(int64_t count, int64_t n);

// Over seeds: mean ± t·s/√n. Nothing for fewer than three values: t is then so large that an interval says nothing.
std::optional<Interval> t_interval(const std::vector<double>& values);

}  // namespace spt
