// Another program, run to its end: input given, output taken, nothing of it left behind. By posix_spawn: a process that
// has used MPI or CUDA must not fork. Several threads may do so at once.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace spt {

struct ChildResult {
  bool in_time = true;  // false: killed at the limit
  int status = 0;       // as waitpid gives it
  std::string output;
};

// Runs command[0], sought in PATH when it has no slash, with this process's environment. `input` is its standard input;
// of its standard output the first `most_output` bytes are kept; its errors go there too (`merge_errors`) or nowhere.
// Throws Failure when it cannot be started.
ChildResult run_child(std::vector<std::string> command, const std::string& input, bool merge_errors,
                      std::chrono::seconds limit, size_t most_output);

}  // namespace spt
