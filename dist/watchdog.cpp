#include "dist/watchdog.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "dist/heartbeat_link.h"

namespace spt {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::chrono::milliseconds kPeriod(500);
// After a longer one between two looks this process had been stopped (SIGSTOP, scontrol suspend), others perhaps too.
constexpr std::chrono::seconds kStopped(3);
// Rank 0 speaks within this time of the limit; then the ranks that it does not reach, one after another: the launcher
// ends the others at the first one's end.
constexpr double kVerdictSeconds = 2.5, kTurnSeconds = 0.1, kAllTurnsSeconds = 2;
// The launcher ends a job whose rank 0 is gone.
constexpr double kGoneSeconds = 4;

double since(Clock::time_point start) {
  return Seconds(Clock::now() - start).count();
}

}  // namespace

// One a process: the message is about the process, and a hang in any group ends all of it.
class Watchdog {
 public:
  static Watchdog& of_process() {
    static Watchdog watchdog;
    return watchdog;
  }

  void set_limit(double limit_seconds, const char* knob, Phase phase) {
    const std::lock_guard lock(mutex_);
    limit_seconds_ = limit_seconds;
    knob_ = knob;
    phase_ = phase;
  }
  void start_as(int rank, const std::string& host) {
    const std::lock_guard lock(mutex_);
    rank_ = rank;
    host_ = host;
    if (!thread_.joinable()) thread_ = std::jthread([this](const std::stop_token& stop) { look(stop); });
  }
  void link_to(const std::string& address, const std::string& collector_host) {
    const std::lock_guard lock(mutex_);
    collector_host_ = collector_host;
    link_.emplace(rank_, CollectorAddress::parse(address));
    hurry();
  }
  void set_step(long step) {
    const std::lock_guard lock(mutex_);
    step_ = step;
  }
  // The start of the call around it.
  Clock::time_point enter(const CollectiveCall& call, bool& is_inner) {
    const std::lock_guard lock(mutex_);
    is_inner = state_ == RankState::kWaiting;
    if (!is_inner) push_front(call);
    state_ = RankState::kWaiting;
    return std::exchange(start_, Clock::now());
  }
  void leave(bool is_inner, Clock::time_point outer_start, bool failed) {
    const std::lock_guard lock(mutex_);
    if (!is_inner) state_ = failed ? RankState::kFailed : RankState::kWorking;
    start_ = is_inner ? outer_start : Clock::now();
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
    queue.call_ = state_ == RankState::kWaiting ? calls_[0] : CollectiveCall(operation, "", 0, 0, 0);
    queue.is_under_way_ = true;
    queue.start_ = Clock::now();
  }
  void look_for_culprit() {
    constexpr std::chrono::seconds kMost(4);
    std::unique_lock lock(mutex_);
    hurry();
    if (state_ == RankState::kFailed && is_linked_) answered_.wait_for(lock, kMost, [this] { return is_alone_; });
  }
  void end() { thread_.request_stop(); }

 private:
  void look(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      const auto sleep = Clock::now();
      woken_.wait_for(lock, stop, kPeriod, [this] { return is_in_hurry_; });
      is_in_hurry_ = false;
      if (stop.stop_requested()) break;
      if (const auto pause = Clock::now() - sleep; pause > kStopped) excuse(pause);
      const Heartbeat heartbeat = heartbeat_now();
      if (link_) {
        lock.unlock();  // it may take a while
        link_->send(heartbeat);
        lock.lock();
        if (link_->has_heard(kEndNow)) end_process();
        is_linked_ = link_->state() == HeartbeatLink::State::kOpen;
        is_alone_ = link_->has_heard(kNobodyElse);
        if (is_alone_) answered_.notify_all();
      }
      check(heartbeat);
    }
    if (!link_) return;
    Heartbeat farewell = heartbeat_now();
    farewell.state = RankState::kLeft;
    link_->send(farewell);
  }

  Heartbeat heartbeat_now() {
    Heartbeat now;
    now.state = state_;
    now.phase = phase_;
    std::strncpy(now.knob, knob_.c_str(), sizeof(now.knob) - 1);
    now.limit_seconds = limit_seconds_;
    now.step = step_;
    now.calls = calls_;
    auto start = start_;
    // The host of a GPU works on while its streams wait.
    for (WatchedQueue* queue : queues_) {
      if (is_done(*queue)) queue->is_under_way_ = false;
      if (!queue->is_under_way_ || (now.state == RankState::kWaiting && queue->start_ >= start)) continue;
      now.state = RankState::kWaiting;
      now.calls[0] = queue->call_;
      start = queue->start_;
    }
    now.seconds = since(start);
    return now;
  }

  bool is_done(const WatchedQueue& queue) const {
    try {
      return !queue.is_under_way_ || queue.done_();
    } catch (const Failure& failure) {
      spdlog::error("rank {}@{}: {} in step {} failed: {}", rank_, host_, queue.call_.operation, step_, failure.what());
      end_process();
    }
  }

  // Where rank 0 cannot speak.
  void check(const Heartbeat& mine) const {
    const auto state = link_ ? link_->state() : HeartbeatLink::State::kUnreachable;
    if (state == HeartbeatLink::State::kClosed) {
      if (link_->silent_seconds() > kGoneSeconds)
        speak(mine, fmt::format("is gone (killed, or its host went down) for {:.0f} s", link_->silent_seconds()));
      return;
    }
    if (mine.limit_seconds <= 0) return;
    const bool is_open = state == HeartbeatLink::State::kOpen;
    const double limit = mine.limit_seconds + (is_open ? kVerdictSeconds : 0);
    if (is_open && link_->silent_seconds() > limit) speak(mine, silence());
    if (mine.state == RankState::kWaiting && mine.phase != Phase::kUneven && mine.seconds > limit)
      speak(mine, is_open ? silence() : "was never reached (its TCP ports are blocked, or it hung from the start)");
  }

  std::string silence() const {
    return fmt::format("is silent (stopped, or its host or the network between is down) for {:.0f} s",
                       link_->silent_seconds());
  }

  [[noreturn]] void speak(const Heartbeat& mine, const std::string& collector_state) const {
    std::this_thread::sleep_for(Seconds(std::min(rank_ * kTurnSeconds, kAllTurnsSeconds)));
    const CollectiveCall& call = mine.calls[0];
    const bool waits = mine.state == RankState::kWaiting;
    std::string text = fmt::format("rank {}@{}: {} in step {} ", rank_, host_, call.operation, mine.step);
    text += waits ? fmt::format("has been waiting for other ranks for {:.0f} s", mine.seconds)
                  : fmt::format("was the last collective, {:.0f} s ago", mine.seconds);
    text += fmt::format("; the limit is {} = {:g}", mine.knob, mine.limit_seconds);
    if (link_) text += fmt::format(". Rank 0@{}, which knows who waits where, {}", collector_host_, collector_state);
    spdlog::error("{}", text);
    end_process();
  }

  [[noreturn]] static void end_process() {
    spdlog::default_logger()->flush();
    _exit(static_cast<int>(ExitStatus::kFailure));
  }

  void excuse(Clock::duration pause) {
    start_ += pause;
    for (WatchedQueue* queue : queues_) queue->start_ += pause;
    if (link_) link_->excuse(pause);
  }

  // The next heartbeat at once.
  void hurry() {
    is_in_hurry_ = true;
    woken_.notify_all();
  }

  void push_front(const CollectiveCall& call) {
    std::copy_backward(calls_.begin(), calls_.end() - 1, calls_.end());
    calls_[0] = call;
  }

  std::mutex mutex_;
  std::condition_variable_any woken_;
  std::condition_variable answered_;
  double limit_seconds_ = 0;
  std::string knob_;
  Phase phase_ = Phase::kComputing;
  int rank_ = 0;
  std::string host_, collector_host_;
  long step_ = 0;
  RankState state_ = RankState::kWorking;
  Clock::time_point start_ = Clock::now();  // of this state
  decltype(Heartbeat::calls) calls_;        // newest first
  std::vector<WatchedQueue*> queues_;
  std::optional<HeartbeatLink> link_;  // the thread's, once it is set
  bool is_in_hurry_ = false;
  bool is_linked_ = false, is_alone_ = false;  // rank 0 answers; it has found nobody else to blame for a failure
  std::jthread thread_;                        // last: joined before the rest goes
};

void watch_collectives(double limit_seconds, const char* knob, Phase phase) {
  Watchdog::of_process().set_limit(limit_seconds, knob, phase);
}

void watch_as(int rank, const std::string& host) {
  Watchdog::of_process().start_as(rank, host);
}

void send_heartbeats(const std::string& address, const std::string& collector_host) {
  Watchdog::of_process().link_to(address, collector_host);
}

void watch_step(long step) {
  Watchdog::of_process().set_step(step);
}

void look_for_culprit() {
  Watchdog::of_process().look_for_culprit();
}

void end_watch() {
  Watchdog::of_process().end();
}

WatchedCall::WatchedCall(const CollectiveCall& call) : exceptions_(std::uncaught_exceptions()) {
  outer_start_ = Watchdog::of_process().enter(call, is_inner_);
}

WatchedCall::~WatchedCall() {
  Watchdog::of_process().leave(is_inner_, outer_start_, std::uncaught_exceptions() > exceptions_);
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
