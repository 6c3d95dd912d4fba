// Heartbeats of one rank on their way to the collector on rank 0 (dist/heartbeat_collector.h), over TCP: MPI may hang,
// and takes no calls from a second thread.
#pragma once

#include <array>
#include <chrono>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "dist/heartbeat.h"
#include "dist/tcp.h"

namespace spt {

using HeartbeatToken = std::array<char, 16>;  // tells the ranks of this job from strangers

// What goes over the wire; the hosts of a job are of one kind.
struct HeartbeatFrame {
  HeartbeatToken token;
  int32_t rank;
  Heartbeat heartbeat;
};
static_assert(std::is_trivially_copyable_v<HeartbeatFrame>);

// The collector answers each by one byte.
enum HeartbeatAnswer : char {
  kHeard = 'h',
  kNobodyElse = 'n',  // to a rank in which a collective failed: no other rank is to blame
  kEndNow = 'e',      // the message is logged, the job ends
};

// How rank 0 is reached: a line of text that the ranks get over MPI.
struct CollectorAddress {
  HeartbeatToken token{};
  int port = 0;
  std::vector<std::string> hosts;  // addresses of its host, as numbers

  std::string text() const;
  static CollectorAddress parse(const std::string& text);
};

class HeartbeatLink {
 public:
  enum class State { kConnecting, kOpen, kClosed, kUnreachable };

  HeartbeatLink(int rank, CollectorAddress collector) : rank_(rank), collector_(std::move(collector)) {}

  // Also connects, for which it takes a second or two where an address leads nowhere. Gives up after some tries.
  void send(const Heartbeat& heartbeat);

  State state() const { return state_; }
  // Since the collector's last answer, or since the connection was closed. An interval in which this process was
  // stopped does not count: `excuse` it.
  double silent_seconds() const;
  void excuse(std::chrono::steady_clock::duration pause) { heard_ += pause; }
  bool has_heard(HeartbeatAnswer answer) const { return answers_.find(answer) != std::string::npos; }

 private:
  bool connect(const std::string& frame);
  void close();

  int rank_;
  CollectorAddress collector_;
  State state_ = State::kConnecting;
  int tries_ = 0;
  Socket socket_;
  std::string pending_;  // of a frame that the network did not take whole
  std::string answers_;  // of the last look
  std::chrono::steady_clock::time_point heard_;
};

}  // namespace spt
