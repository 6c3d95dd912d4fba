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
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "launch/sandbox/forbidden.h"
#include "launch/sandbox/new_root.h"
#include "launch/sandbox/privileges.h"
#include "launch/sandbox/system_calls.h"
#include "trainer/eval/sandbox.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kMarkerOut = 3;  // of the code: where it writes the marker
constexpr int kMarkerIn = 4;   // where it reads it
constexpr int kAboveThose = 10;
constexpr rlim_t kOpenFiles = 64;
constexpr rlim_t kStack = 8 << 20;  // the usual one: how deep Python can recurse must not hang on the user's shell

// The program runs in a fresh __main__, and the marker follows its last line.
constexpr const char* kBoot = R"(
def run():
    import os, sys, types
    with os.fdopen(0, "rb", closefd=False) as file:
        program = file.read()
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    marker = os.read(4, 64)
    os.close(4)
    write = os.write
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(program, "program.py", "exec"), main.__dict__)
    write(3, marker)
run()
)";

struct Options {
  SandboxLimits limits;
  std::string python;
  std::vector<std::string> view;
  std::string library_path;
  bool namespaces = true;
};

void check(bool good, const std::string& step) {
  if (!good) throw Failure(fmt::format("{}: {}", step, std::strerror(errno)));
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    check(pipe2(ends.data(), O_CLOEXEC) == 0, "pipe");
    reading = fcntl(ends[0], F_DUPFD_CLOEXEC, kAboveThose);
    writing = fcntl(ends[1], F_DUPFD_CLOEXEC, kAboveThose);
    check(reading >= 0 && writing >= 0, "pipe");
    close(ends[0]);
    close(ends[1]);
  }
  int reading = -1;
  int writing = -1;
};

// Between the three processes.
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

[[noreturn]] void give_up(const Pipes& pipes, const char* reason) {
  Report report;
  report.begun = false;
  std::strncpy(report.reason.data(), reason, report.reason.size() - 1);
  const ssize_t ignored = write(pipes.report.writing, &report, sizeof report);
  _exit(ignored < 0 ? 2 : 1);
}

// ---- Code
// --------------------------------------------------------------------------------------------------------------

void limit(__rlimit_resource resource, rlim_t value, rlim_t more_when_ignored = 0) {
  rlimit now{};
  check(getrlimit(resource, &now) == 0, "getrlimit");
  const rlimit wanted{std::min(value, now.rlim_max), std::min(value + more_when_ignored, now.rlim_max)};
  check(setrlimit(resource, &wanted) == 0, "setrlimit");
}

void limit_resources(const Options& options) {
  const SandboxLimits& limits = options.limits;
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_AS, static_cast<rlim_t>(limits.memory_bytes));
  limit(RLIMIT_CPU, static_cast<rlim_t>(limits.cpu_seconds), 1);  // SIGXCPU, then SIGKILL
  limit(RLIMIT_FSIZE, static_cast<rlim_t>(limits.folder_bytes));
  limit(RLIMIT_NOFILE, kOpenFiles);
  limit(RLIMIT_STACK, kStack);
  limit(RLIMIT_MSGQUEUE, 0);
  // Counted by user and namespace; before Linux 5.14, and without namespace, all that the user runs here counts.
  if (options.namespaces) limit(RLIMIT_NPROC, static_cast<rlim_t>(limits.threads));
}

[[noreturn]] void be_code(const Options& options, const Pipes& pipes) {
  dup2(pipes.output.writing, STDOUT_FILENO);
  dup2(pipes.output.writing, STDERR_FILENO);
  dup2(pipes.marker_out.writing, kMarkerOut);
  dup2(pipes.marker_in.reading, kMarkerIn);
  limit_resources(options);
  check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
  std::string libraries = "LD_LIBRARY_PATH=" + options.library_path;
  std::string hashes = "PYTHONHASHSEED=0";
  char* const environment[] = {hashes.data(), options.library_path.empty() ? nullptr : libraries.data(), nullptr};
  // -B: no .pyc files; -s: no packages of the user's.
  const char* const arguments[] = {options.python.c_str(), "-B", "-s", "-X", "utf8", "-c", kBoot, nullptr};
  deny_system_calls();
  execve(options.python.c_str(), const_cast<char* const*>(arguments), environment);
  throw Failure(fmt::format("starting {}: {}", options.python, std::strerror(errno)));
}

// ---- Init
// --------------------------------------------------------------------------------------------------------------

[[noreturn]] void be_init(const Options& options, Pipes& pipes) {
  close(pipes.go.writing);
  char go = 0;
  if (read(pipes.go.reading, &go, 1) != 1) _exit(1);
  setsid();
  if (options.namespaces) enter_new_root(options.view, options.limits.folder_bytes, kSandboxUser);
  drop_privileges(options.namespaces);
  // A change of user clears it, so it comes after.
  check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
  pollfd outer{pipes.go.reading, POLLIN, 0};
  if (poll(&outer, 1, 0) != 0) _exit(1);  // outer has ended before

  const pid_t code = fork();
  check(code >= 0, "fork");
  if (code == 0) be_code(options, pipes);
  close(pipes.output.writing);
  Report report;
  check(waitpid(code, &report.status, 0) == code, "waitpid");
  rusage used{};
  getrusage(RUSAGE_CHILDREN, &used);
  report.cpu_seconds = static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                       1e-6 * static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
  const ssize_t count = write(pipes.report.writing, &report, sizeof report);
  _exit(count == sizeof report ? 0 : 1);
}

pid_t start_init(const Options& options, Pipes& pipes) {
  const unsigned long namespaces =
      CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  const pid_t init = static_cast<pid_t>(
      syscall(SYS_clone, SIGCHLD | (options.namespaces ? namespaces : 0), nullptr, nullptr, nullptr, nullptr));
  check(init >= 0, "clone with new namespaces");
  if (init != 0) return init;
  try {
    be_init(options, pipes);
  } catch (const std::exception& error) {
    give_up(pipes, error.what());
  }
}

// ---- Outer
// -------------------------------------------------------------------------------------------------------------

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

// What the code printed, and its end.
class Watch {
 public:
  Watch(const Options& options, const Pipes& pipes) : limits_(options.limits), pipes_(pipes) {}

  // Returns when the code has ended or must be ended.
  void until_end() {
    const auto end = Clock::now() + std::chrono::seconds(limits_.wall_seconds);
    while (!stopped_ && !report_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
      std::array<pollfd, 3> ready = {
          {{pipes_.output.reading, POLLIN, 0}, {pipes_.report.reading, POLLIN, 0}, {STDOUT_FILENO, 0, 0}}};
      if (output_ended_) ready[0].fd = -1;
      const int count = poll(ready.data(), ready.size(), static_cast<int>(std::clamp<int64_t>(left, 0, INT_MAX)));
      if (count == 0) stopped_ = SandboxStatus::kTimeLimit;
      if (count <= 0) continue;
      if (ready[0].revents != 0) take_output();
      if (ready[1].revents != 0) take_report();
      if ((ready[2].revents & POLLERR) != 0) stopped_ = SandboxStatus::kFailed;  // nobody reads it
    }
  }

  // After init's end: no other process can hold the pipe.
  void take_rest() {
    while (!output_ended_ && stopped_ != SandboxStatus::kOutputLimit) take_output();
  }

  SandboxStatus verdict(const std::string& marker) {
    if (stopped_) return *stopped_;
    if (!report_->begun) throw Failure(report_->reason.data());
    const int status = report_->status;
    const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const bool long_enough = report_->cpu_seconds >= static_cast<double>(limits_.cpu_seconds);
    if (signal == SIGXCPU || (signal == SIGKILL && long_enough)) return SandboxStatus::kTimeLimit;
    if (signal != 0) output_ += fmt::format("\n[spt: ended by signal: {}]\n", strsignal(signal));
    if (status != 0) return SandboxStatus::kFailed;
    if (told_marker() == marker) return SandboxStatus::kPassed;
    output_ += "\n[spt: it ended before its last line]\n";
    return SandboxStatus::kFailed;
  }
  const std::string& output() const { return output_; }

 private:
  void take_output() {
    std::array<char, 4096> part{};
    const ssize_t count = read(pipes_.output.reading, part.data(), part.size());
    if (count <= 0) output_ended_ = count == 0 || errno != EINTR;
    if (count <= 0) return;
    const size_t room = static_cast<size_t>(limits_.output_bytes) - output_.size();
    output_.append(part.data(), std::min(room, static_cast<size_t>(count)));
    if (static_cast<size_t>(count) > room) stopped_ = SandboxStatus::kOutputLimit;
  }
  void take_report() {
    Report report;
    if (read(pipes_.report.reading, &report, sizeof report) == sizeof report)
      report_ = report;
    else
      throw Failure("process 1 of the sandbox ended before the code");
  }
  std::string told_marker() const {
    std::array<char, 64> bytes{};
    const ssize_t count = read(pipes_.marker_out.reading, bytes.data(), bytes.size());
    return {bytes.data(), static_cast<size_t>(std::max<ssize_t>(count, 0))};
  }

  SandboxLimits limits_;
  const Pipes& pipes_;
  bool output_ended_ = false;
  std::optional<SandboxStatus> stopped_;
  std::optional<Report> report_;
  std::string output_;
};

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
