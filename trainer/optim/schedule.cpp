#include "trainer/optim/schedule.h"

namespace spt {

double learning_rate(const ScheduleConfig& config, double lr, int64_t step, int64_t total_steps) {
  const int64_t warmup = config.warmup_steps;
  if (step < warmup) return lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double done = static_cast<double>(step - warmup) / static_cast<double>(total_steps - warmup);
  return config.final_lr + (lr - config.final_lr) * (1 - done);
}

}  // namespace spt
