// Steps whose loss or gradient norm is not finite. The optimizer leaves them out; a run of several in a row does not
// come back by itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "dist/runtime.h"
#include "trainer/metrics.h"

namespace spt {

// What one rank has to say of a step.
struct RankNumbers {
  std::vector<std::vector<int64_t>> rows;  // of its micro-batches
  std::vector<double> losses;              // theirs; one without trained tokens has 0
  bool is_gradient_finite = true;          // that of the embedding, which the others' backward passes end in
  bool speaks = true;                      // of losses: one rank of a tp group does
};

class BadSteps {
 public:
  // `most` in a row are too many. `runtime` and `corpus` must outlive it.
  BadSteps(int64_t most, Runtime& runtime, const Dataset& corpus) : most_(most), runtime_(runtime), corpus_(corpus) {}

  // Collective: of every step, in order. Rank 0 logs a bad one with the examples that it comes from.
  void see(const MetricsRow& row, const RankNumbers& mine);
  bool are_too_many() const { return in_a_row_ >= most_; }
  std::string advice(const MetricsRow& last, double lr) const;  // where they are

 private:
  std::string describe(const RankNumbers& mine) const;  // empty: nothing bad on this rank
  std::string name(const std::vector<int64_t>& rows) const;

  int64_t most_;
  Runtime& runtime_;
  const Dataset& corpus_;
  int64_t in_a_row_ = 0;
};

}  // namespace spt
