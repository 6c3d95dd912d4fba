// From the heartbeats of all ranks: whether the job can go on, and if not, whose fault it is.
#pragma once

#include <string>
#include <vector>

#include "dist/heartbeat.h"

namespace spt {

enum class Contact {
  kNone,    // no heartbeat ever came (they may be blocked): such a rank is not blamed for its silence
  kOpen,    // heartbeats come, or came
  kClosed,  // the connection was closed without a farewell: the process is gone
};

// What is known of one rank.
struct RankSeen {
  std::string host;
  Contact contact = Contact::kNone;
  double silent_seconds = 0;  // since the latest heartbeat
  Heartbeat latest;
};

// "0-510, 512": ascending ranks; of more than eight ranges the last ones are counted.
std::string rank_ranges(const std::vector<int>& ranks);

// Why the job, whose ranks are given by number, cannot go on: a message of a line and a few more, however many ranks
// there are: those to blame first, then who waits where. Empty: it can. It cannot when a rank is gone for some seconds,
// silent for longer than its limit, or waits for longer than its limit (in phase kUneven: and none that is heard
// works).
std::string hang_report(const std::vector<RankSeen>& ranks);

// The same for a job in which a collective has failed on a rank: empty where no rank is gone or made another call.
std::string failure_report(const std::vector<RankSeen>& ranks);

}  // namespace spt
