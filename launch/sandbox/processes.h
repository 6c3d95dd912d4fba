// The inner two of the three processes that main.cpp describes: init, and the code.
#pragma once

#include <array>
#include <string>
#include <vector>

#include <sys/types.h>

#include "trainer/eval/sandbox.h"

namespace spt {

struct Options {
  SandboxLimits limits;
  std::string python;             // without symbolic links
  std::vector<std::string> view;  // what it needs besides /usr and /lib*, itself among it
  std::string library_path;
  bool namespaces = true;  // false: only limits and the system call filter
};

// Throws Failure with the step and errno.
void check(bool good, const std::string& step);

// Both ends are closed by execve.
struct Pipe {
  Pipe();
  int reading = -1;
  int writing = -1;
};

// Between the three processes. `go`: one byte when init may begin; its end is outer's end. `report`: a Report.
struct Pipes {
  Pipe go, report, output, marker_in, marker_out;
};

// What init tells: how the code ended, or why it did not begin. One write.
struct Report {
  int status = 0;
  double cpu_seconds = 0;
  bool begun = true;
  std::array<char, 1000> reason{};
};

// Starts init, which waits for `go`. Throws Failure when the kernel makes no namespaces.
pid_t start_init(const Options& options, Pipes& pipes);

}  // namespace spt
