// Ends a job that hangs, and says whose fault it is. A thread of each rank, which never calls MPI, looks twice a second
// how long the operation under way has been running, and sends that to rank 0 (dist/heartbeat_collector.h), which knows
// of all ranks and speaks for them. A rank whose operation is over the limit and that rank 0 leaves alone says what it
// knows itself. All end with status 2, each by itself: MPI and the launcher may not reach them any more.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "dist/heartbeat.h"

namespace spt {

// From here on a wait for other ranks, and a rank's silence, may take `limit_seconds`; 0: any time. `knob` is what sets
// that limit, for the message.
void watch_collectives(double limit_seconds, const char* knob, Phase phase = Phase::kComputing);
// For the message: who this process is. Until it is told there is no watch.
void watch_as(int rank, const std::string& host);
// Heartbeats go to the collector at this address (CollectorAddress::text), on `collector_host`.
void send_heartbeats(const std::string& address, const std::string& collector_host);
// For the message: which step is under way.
void watch_step(long step);
// To be called where a collective may have failed on this rank, before it ends the job. Ranks that fail because another
// one made another call, or is gone, are ended here by rank 0 with a message that says so.
void look_for_culprit();
// All is said by others: this rank ends, and its silence means nothing. No watch behind it.
void end_watch();

// Stands around one blocking call, on any thread. Inside another one it begins the time anew, for its duration.
class WatchedCall {
 public:
  explicit WatchedCall(const CollectiveCall& call);
  // Of no group with a name.
  explicit WatchedCall(const char* operation) : WatchedCall(CollectiveCall(operation, "", 0, 0, 0)) {}
  ~WatchedCall();
  WatchedCall(const WatchedCall&) = delete;
  WatchedCall& operator=(const WatchedCall&) = delete;

 private:
  bool is_inner_;
  int exceptions_;
  std::chrono::steady_clock::time_point outer_start_;
};

// An operation that goes on after its call has returned, as on a GPU's stream. `done` is asked by the watching thread,
// twice a second; where it throws a Failure, the operation failed, and the process ends with status 2.
class WatchedQueue {
 public:
  explicit WatchedQueue(std::function<bool()> done);
  ~WatchedQueue();
  WatchedQueue(const WatchedQueue&) = delete;
  WatchedQueue& operator=(const WatchedQueue&) = delete;

  // The latest; `done` now speaks of it. Within a WatchedCall it is that call.
  void started(const char* operation);

 private:
  friend class Watchdog;
  std::function<bool()> done_;
  bool is_under_way_ = false;
  CollectiveCall call_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace spt
