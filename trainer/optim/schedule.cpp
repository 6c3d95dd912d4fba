#include "trainer/optim/schedule.h"

#include <fmt/format.h>

namespace spt {

void ScheduleConfig::validate(std::vector<std::string>& errors) const {
  if (warmup_steps < 0) errors.push_back(fmt::format("warmup_steps is {}, must be at least 0", warmup_steps));
  if (final_lr < 0) errors.push_back(fmt::format("final_lr is {}, must be at least 0", final_lr));
}

double learning_rate(const ScheduleConfig& config, double lr, int64_t step, int64_t total_steps) {
  const int64_t warmup = config.warmup_steps;
  if (step < warmup) return lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double done = static_cast<double>(step - warmup) / static_cast<double>(total_steps - warmup);
  return config.final_lr + (lr - config.final_lr) * (1 - done);
}

}  // namespace spt
