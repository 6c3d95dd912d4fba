#include "dist/watchdog.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "base/error.h"
#include "base/log.h"

namespace spt {

using Clock = std::chrono::steady_clock;

// One a process: the message is about the process, and a hang in any group ends all of it.
class Watchdog {
 public:
  static Watchdog& of_process() {
    static Watchdog watchdog;
    return watchdog;
  }

  void set_limit(double limit_seconds, const char* knob) {
    const std::lock_guard lock(mutex_);
    limit_ = std::chrono::duration<double>(limit_seconds);
    knob_ = knob;
  }
  void start_as(int rank, const std::string& host) {
    const std::lock_guard lock(mutex_);
    rank_ = rank;
    host_ = host;
    if (!thread_.joinable()) thread_ = std::jthread([this](const std::stop_token& stop) { look(stop); });
  }
  void set_step(long step) {
    const std::lock_guard lock(mutex_);
    step_ = step;
  }
  std::pair<const char*, Clock::time_point> enter(const char* operation, Clock::time_point start) {
    const std::lock_guard lock(mutex_);
    return {std::exchange(operation_, operation), std::exchange(start_, start)};
  }
  void add(WatchedQueue* queue) {
    const std::lock_guard lock(mutex_);
    queues_.push_back(queue);
  }
  void remove(WatchedQueue* queue) {
    const std::lock_guard lock(mutex_);
    std::erase(queues_, queue);
  }
  void start(WatchedQueue& queue, const char* operation) {
    const std::lock_guard lock(mutex_);
    queue.operation_ = operation;
    queue.start_ = Clock::now();
  }

 private:
  void look(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      woken_.wait_for(lock, stop, std::chrono::seconds(1), [] { return false; });
      check(operation_, start_);
      for (WatchedQueue* queue : queues_) {
        if (is_done(*queue)) queue->operation_ = nullptr;
        check(queue->operation_, queue->start_);
      }
    }
  }

  bool is_done(const WatchedQueue& queue) const {
    try {
      return queue.operation_ == nullptr || queue.done_();
    } catch (const Failure& failure) {
      spdlog::error("rank {}@{}: {} in step {} failed: {}", rank_, host_, queue.operation_, step_, failure.what());
      end();
    }
  }

  void check(const char* operation, Clock::time_point start) const {
    if (operation == nullptr || limit_.count() <= 0 || Clock::now() - start < limit_) return;
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    spdlog::error(
        "rank {}@{}: {} in step {} has been waiting for other ranks for {:.0f} s; the limit is {} = {:g}. A rank that "
        "prints no such line is the one that hangs.",
        rank_, host_, operation, step_, seconds, knob_, limit_.count());
    end();
  }

  [[noreturn]] static void end() {
    spdlog::default_logger()->flush();
    _exit(static_cast<int>(ExitStatus::kFailure));
  }

  std::mutex mutex_;
  std::condition_variable_any woken_;
  std::chrono::duration<double> limit_{0};
  const char* knob_ = "";
  int rank_ = 0;
  std::string host_;
  long step_ = 0;
  const char* operation_ = nullptr;
  Clock::time_point start_;
  std::vector<WatchedQueue*> queues_;
  std::jthread thread_;  // last: joined before the rest goes
};

void watch_collectives(double limit_seconds, const char* knob) {
  Watchdog::of_process().set_limit(limit_seconds, knob);
}

void watch_as(int rank, const std::string& host) {
  Watchdog::of_process().start_as(rank, host);
}

void watch_step(long step) {
  Watchdog::of_process().set_step(step);
}

WatchedCall::WatchedCall(const char* operation) {
  std::tie(outer_operation_, outer_start_) = Watchdog::of_process().enter(operation, Clock::now());
}

WatchedCall::~WatchedCall() {
  Watchdog::of_process().enter(outer_operation_, outer_start_);
}

WatchedQueue::WatchedQueue(std::function<bool()> done) : done_(std::move(done)) {
  Watchdog::of_process().add(this);
}

WatchedQueue::~WatchedQueue() {
  Watchdog::of_process().remove(this);
}

void WatchedQueue::started(const char* operation) {
  Watchdog::of_process().start(*this, operation);
}

}  // namespace spt
