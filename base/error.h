// The two ways a command can fail, and the one in which it stops halfway. Libraries throw these and never print or
// exit; `launch/` and `run_distributed` turn them into the exit status.
#pragma once

#include <stdexcept>
#include <string>

namespace spt {

// The user's input is wrong (exit status 1). The message names the file, the line where there is one, the value, the
// limit and the knob to turn.
class BadInput : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The machine or the program failed: disk full, a lost rank, a broken invariant (exit status 2).
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A request to stop was honoured where there is nothing to be kept (exit status 75). The message says where.
class Stopped : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class ExitStatus : int { kDone = 0, kBadInput = 1, kFailure = 2, kStopped = 75 };

}  // namespace spt
