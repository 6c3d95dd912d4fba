// A sweep as people see it.
#pragma once

#include <chrono>
#include <string>

#include "launch/table.h"
#include "trainer/sweep_state.h"

namespace spt {

// A row a point, a column a step: "done 3:05", "failed (2)". With `unfinished_only`, points that run or failed.
Table sweep_table(const SweepState& state, bool unfinished_only);

// "3 of 8 points are done, 2 run, 1 failed".
std::string sweep_summary(const SweepState& state);

// Steps that failed, with their exit status and log, a line each; empty where none did.
std::string sweep_failures(const SweepState& state);

// While a sweep runs: on a terminal one table that is drawn again, else a line of the log a change.
class SweepTable {
 public:
  explicit SweepTable(const SweepState& state) : state_(state) {}

  void changed(const StepState& step, const PointState* point);
  void draw();

 private:
  const SweepState& state_;
  size_t lines_ = 0;  // of the table on the terminal
  std::chrono::steady_clock::time_point last_;
};

}  // namespace spt
