// Ends a job whose collective hangs. A thread looks once a second whether an operation under way has been running for
// longer than the limit; then it logs rank, host, operation and step and ends the process with status 2 (the launcher
// ends the others).
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace spt {

// From here on operations may take `limit_seconds`; 0: any time. `knob` is what sets that limit, for the message; it
// must outlive the watch (a literal).
void watch_collectives(double limit_seconds, const char* knob);
// For the message: who this process is. Until it is told there is no watch.
void watch_as(int rank, const std::string& host);
// For the message: which step is under way.
void watch_step(long step);

// Stands around one blocking call, on any thread. `operation` must outlive it (a literal). Inside another one it takes
// that one's place for its duration.
class WatchedCall {
 public:
  explicit WatchedCall(const char* operation);
  ~WatchedCall();
  WatchedCall(const WatchedCall&) = delete;
  WatchedCall& operator=(const WatchedCall&) = delete;

 private:
  const char* outer_operation_;
  std::chrono::steady_clock::time_point outer_start_;
};

// An operation that goes on after its call has returned, as on a GPU's stream. `done` is asked by the watching thread,
// once a second; where it throws a Failure, the operation failed, and the process ends with status 2.
class WatchedQueue {
 public:
  explicit WatchedQueue(std::function<bool()> done);
  ~WatchedQueue();
  WatchedQueue(const WatchedQueue&) = delete;
  WatchedQueue& operator=(const WatchedQueue&) = delete;

  void started(const char* operation);  // the latest; `done` now speaks of it

 private:
  friend class Watchdog;
  std::function<bool()> done_;
  const char* operation_ = nullptr;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace spt
