// What each rank says about itself twice a second, so that a job that hangs can name who keeps the others waiting.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace spt {

// One collective of one group, as its rank called it. Plain bytes: sent as they are.
struct CollectiveCall {
  char operation[20] = "";
  char group[8] = "";    // kind: job, world, dp, tp; empty: a group without a name, whose calls are not compared
  int32_t instance = 0;  // which group of that kind
  int64_t number = 0;    // among the calls of its group, from 1
  int64_t bytes = 0;     // that this rank gives: on all ranks of the group the same

  CollectiveCall() = default;
  CollectiveCall(const char* name, const char* kind, int32_t which, int64_t count, int64_t size)
      : instance(which), number(count), bytes(size) {
    std::strncpy(operation, name, sizeof(operation) - 1);
    std::strncpy(group, kind, sizeof(group) - 1);
  }
};

// What a job does, for what may be waited for.
enum class Phase : uint8_t {
  kComputing,  // alike on all ranks
  kFiles,      // files are read and written
  kUneven,     // ranks have unlike shares: waits of any length while a rank that is heard still works on its own
};

enum class RankState : uint8_t { kWorking, kWaiting, kFailed, kLeft };

struct Heartbeat {
  RankState state = RankState::kWorking;
  Phase phase = Phase::kComputing;
  char knob[40] = "";        // what sets the limit
  double limit_seconds = 0;  // of a wait and of a silence; 0: none
  double seconds = 0;        // that the rank has been in this state
  int64_t step = 0;          // 0: before the first
  // The latest, newest first; the first one is under way where the state is kWaiting, and failed where it is kFailed.
  std::array<CollectiveCall, 6> calls;
};

}  // namespace spt
