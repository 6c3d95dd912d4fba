// What a person sees of a run on rank 0: a bar with ETA on a terminal (and the lines in log.txt), a log line each
// `log_every` steps otherwise. mpirun puts a pipe between a rank and the terminal: launch/local.sh sets SPT_TERMINAL
// where there is one.
#pragma once

#include <chrono>
#include <cstdint>

#include "trainer/metrics.h"

namespace spt {

class Console {
 public:
  // Steps first_step + 1 … total are to come.
  Console(int64_t first_step, int64_t total_steps, int64_t log_every, bool is_rank_0);
  ~Console() { pause(); }  // so that the message of an error has a line of its own
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void show(const MetricsRow& row);
  // Ends the bar's line, so that a message can follow.
  void pause();

 private:
  double eta_seconds(int64_t step) const;

  int64_t first_step_, total_steps_, log_every_;
  bool is_rank_0_, is_terminal_;
  bool on_bar_ = false;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace spt
