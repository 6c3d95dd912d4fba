// spt-sandbox: runs a Python program, read from standard input, that nobody vouches for. trainer/eval/sandbox.h says
// what holds.
//
//   outer     this process: limits time and output, says how it ended. Ends when nobody reads its output any more.
//   └ init    process 1 of new user, pid, mount, network, ipc and uts namespaces; builds the new root, drops its
//   privileges, waits.
//     └ code  Python, under resource limits and the system call filter.
//
// The kernel ends init when outer ends, however that happens, and with init all that its namespace holds.
// Prints what the program printed; exit status: SandboxStatus; or ExitStatus with a message, when it could not be run.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "launch/sandbox/forbidden.h"
#include "launch/sandbox/privileges.h"
#include "launch/sandbox/processes.h"
#include "launch/sandbox/watch.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

// Whatever the evaluator had open (its files, GPU, network) or had said about signals ends here.
void forget_the_parent() {
  std::vector<int> open;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc/self/fd"))
    open.push_back(std::stoi(entry.path().filename().string()));
  for (const int file : open)
    if (file > STDERR_FILENO) close(file);
  for (int signal = 1; signal < NSIG; ++signal) std::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  // mpirun and Slurm send SIGUSR1 and SIGTERM to whole process groups: what runs may come to its end.
  setsid();
  // Short of memory, the kernel shall end this and no rank.
  std::ofstream("/proc/self/oom_score_adj") << 1000;
}

std::string random_marker() {
  std::string marker(32, '\0');
  check(getrandom(marker.data(), marker.size(), 0) == static_cast<ssize_t>(marker.size()), "getrandom");
  return marker;
}

// Ends init, and with it all processes of its namespace; returns when none is left.
class InitProcess {
 public:
  explicit InitProcess(pid_t id) : id_(id) {}
  InitProcess(const InitProcess&) = delete;
  InitProcess& operator=(const InitProcess&) = delete;
  ~InitProcess() { end(); }
  void end() {
    if (id_ <= 0) return;
    kill(id_, SIGKILL);
    while (waitpid(id_, nullptr, 0) < 0 && errno == EINTR) {
    }
    id_ = -1;
  }

 private:
  pid_t id_;
};

SandboxStatus run(const Options& options) {
  Pipes pipes;
  const std::string marker = random_marker();
  check(write(pipes.marker_in.writing, marker.data(), marker.size()) == static_cast<ssize_t>(marker.size()), "pipe");
  const pid_t id = start_init(options, pipes);
  InitProcess init(id);
  for (const int end : {pipes.go.reading, pipes.report.writing, pipes.output.writing, pipes.marker_in.reading,
                        pipes.marker_in.writing, pipes.marker_out.writing})
    close(end);
  if (options.namespaces) map_users(id);
  check(write(pipes.go.writing, "g", 1) == 1, "pipe");
  Watch watch(options, pipes);
  watch.until_end();
  init.end();
  watch.take_rest();
  const SandboxStatus status = watch.verdict(marker);
  fmt::print("{}", watch.output());
  return status;
}

// Without namespaces: a folder of this machine in place of the private /tmp.
class WorkingFolder {
 public:
  WorkingFolder() {
    std::string pattern = (fs::temp_directory_path() / "spt-code-XXXXXX").string();
    check(mkdtemp(pattern.data()) != nullptr, pattern);
    path_ = pattern;
    fs::current_path(path_);
  }
  WorkingFolder(const WorkingFolder&) = delete;
  WorkingFolder& operator=(const WorkingFolder&) = delete;
  ~WorkingFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

 private:
  fs::path path_;
};

Options parse(int argc, char** argv) {
  Options options;
  SandboxLimits& limits = options.limits;
  CLI::App app(
      "Runs the Python program that stands on standard input, shut off from this machine; started by spt eval.");
  app.add_option("--python", options.python, "the interpreter: a path without symbolic links")->required();
  app.add_option("--view", options.view, "a folder or file that it needs besides /usr and /lib*; repeatable");
  app.add_option("--library-path", options.library_path, "its LD_LIBRARY_PATH");
  app.add_option("--memory-bytes", limits.memory_bytes, "address space");
  app.add_option("--cpu-seconds", limits.cpu_seconds, "processor time");
  app.add_option("--wall-seconds", limits.wall_seconds, "time");
  app.add_option("--output-bytes", limits.output_bytes, "what it may print");
  app.add_option("--folder-bytes", limits.folder_bytes, "size of /tmp, and of a file");
  app.add_option("--threads", limits.threads, "threads");
  app.add_flag("!--no-namespaces", options.namespaces, "only limits and the system call filter: files are open to it");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : static_cast<int>(ExitStatus::kBadInput));
  }
  options.view.push_back(options.python);
  return options;
}

SandboxStatus run_apart(const Options& options) {
  forget_the_parent();
  if (!options.namespaces) {
    const WorkingFolder folder;
    return run(options);
  }
  try {
    return run(options);
  } catch (const std::exception& error) {
    throw BadInput(fmt::format("{}; {}", error.what(), why_forbidden()));
  }
}

}  // namespace
}  // namespace spt

int main(int argc, char** argv) {
  try {
    return static_cast<int>(spt::run_apart(spt::parse(argc, argv)));
  } catch (const spt::BadInput& error) {
    std::fputs(error.what(), stdout);
    return static_cast<int>(spt::ExitStatus::kBadInput);
  } catch (const std::exception& error) {
    std::fputs(error.what(), stdout);
    return static_cast<int>(spt::ExitStatus::kFailure);
  }
}
