// On rank 0: takes the heartbeats of all ranks and ends the job when it hangs (dist/hang_report.h), with one message
// that names whoever is to blame. The only place where anything grows with the ranks: a connection and a heartbeat
// each.
#pragma once

#include <string>
#include <thread>
#include <vector>

#include "dist/heartbeat_link.h"

namespace spt {

class HeartbeatCollector {
 public:
  // `hosts` by world rank. Where this host gives no socket it warns, and has no address.
  explicit HeartbeatCollector(std::vector<std::string> hosts);
  ~HeartbeatCollector();
  HeartbeatCollector(const HeartbeatCollector&) = delete;
  HeartbeatCollector& operator=(const HeartbeatCollector&) = delete;

  // CollectorAddress::text, or empty.
  const std::string& address() const { return address_; }

 private:
  class Table;

  std::string address_;
  Socket wake_;  // an eventfd: ends the thread's wait
  std::jthread thread_;
};

}  // namespace spt
