// Other programs. By posix_spawn: a process that has used MPI or CUDA must not fork. Several threads may do so at once.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace spt {

struct ChildResult {
  bool in_time = true;  // false: killed at the limit
  int status = 0;       // as waitpid gives it
  std::string output;
};

// To its end, nothing of it left behind. Runs command[0], sought in PATH when it has no slash, with this process's
// environment. `input` is its standard input; of its standard output the first `most_output` bytes are kept; its errors
// go there too (`merge_errors`) or nowhere. Throws Failure when it cannot be started.
ChildResult run_child(std::vector<std::string> command, const std::string& input, bool merge_errors,
                      std::chrono::seconds limit, size_t most_output);

// One that runs beside this process, in a session of its own: Ctrl-C does not reach it. Its output and errors are
// appended to `log`; its input is empty. `environment` has "NAME=value", taking the place of this process's.
class BackgroundChild {
 public:
  // Throws Failure when it cannot be started, or the log not be opened.
  BackgroundChild(std::vector<std::string> command, const std::vector<std::string>& environment,
                  const std::filesystem::path& log);
  // Ends it (SIGTERM) and waits, where nobody has its status yet.
  ~BackgroundChild();
  BackgroundChild(const BackgroundChild&) = delete;
  BackgroundChild& operator=(const BackgroundChild&) = delete;

  // Its status as waitpid gives it, once it has ended.
  std::optional<int> status();
  void signal(int number) const;

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
};

// Living processes of this user that were started with an environment in which some "NAME=value" begins with `mark`,
// and whether each leads a session.
struct MarkedProcess {
  pid_t pid = -1;
  bool leads_session = false;
};
std::vector<MarkedProcess> marked_processes(const std::string& mark);

}  // namespace spt
