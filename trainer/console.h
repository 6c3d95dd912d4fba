// What a person sees of a run on rank 0: a bar with ETA on a terminal (and the lines in log.txt), a log line each
// `log_every` steps otherwise.
#pragma once

#include <cstdint>

#include "base/progress.h"
#include "trainer/metrics.h"

namespace spt {

class Console {
 public:
  // Steps first_step + 1 … total are to come.
  Console(int64_t first_step, int64_t total_steps, int64_t log_every, bool is_rank_0);
  void show(const MetricsRow& row);
  // Ends the bar's line, so that a message can follow.
  void pause() { bar_.end_line(); }

 private:
  int64_t total_steps_, log_every_;
  bool is_rank_0_;
  ProgressBar bar_;
};

}  // namespace spt
