// A limit on how much may be started a minute, evenly spaced: no minute sees more than the limit, and there is no
// burst.
#pragma once

#include <algorithm>
#include <chrono>

namespace spt {

class Pace {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Pace(double per_minute) : per_minute_(per_minute) {}  // 0: no limit

  // When the next may start.
  Clock::time_point ready() const { return ready_; }
  void started(double amount, Clock::time_point now) {
    ready_ = std::max(ready_, now);
    add(amount);
  }
  // What was started turned out to be more (or, below 0, less).
  void add(double amount) {
    if (per_minute_ > 0)
      ready_ += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(60 * amount / per_minute_));
  }

 private:
  double per_minute_;
  Clock::time_point ready_;
};

}  // namespace spt
