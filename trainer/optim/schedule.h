// The learning rate of a step.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace spt {

enum class ScheduleKind { kLinear };
inline std::vector<std::pair<std::string, ScheduleKind>> enum_names(ScheduleKind) {
  return {{"linear", ScheduleKind::kLinear}};
}

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kLinear;
  int64_t warmup_steps = 0;
  double final_lr = 1e-6;

  template <class F>
  void fields(F& f) {
    f("kind", kind, "shape of the decay");
    f("warmup_steps", warmup_steps, "steps of linear warm-up");
    f("final_lr", final_lr, "learning rate towards which the decay runs");
  }
  void validate(std::vector<std::string>& errors) const;
};

// Step t = 0 … total − 1, with w warm-up steps: t < w: lr·(t+1)/w; else final + (lr − final)·(1 − (t−w)/(total−w)).
double learning_rate(const ScheduleConfig& config, double lr, int64_t step, int64_t total_steps);

}  // namespace spt
