#include "launch/sandbox/processes.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "launch/sandbox/new_root.h"
#include "launch/sandbox/privileges.h"
#include "launch/sandbox/system_calls.h"

namespace spt {
namespace {

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

[[noreturn]] void give_up(const Pipes& pipes, const char* reason) {
  Report report;
  report.begun = false;
  std::strncpy(report.reason.data(), reason, report.reason.size() - 1);
  const ssize_t ignored = write(pipes.report.writing, &report, sizeof report);
  _exit(ignored < 0 ? 2 : 1);
}

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

}  // namespace

void check(bool good, const std::string& step) {
  if (!good) throw Failure(fmt::format("{}: {}", step, std::strerror(errno)));
}

Pipe::Pipe() {
  std::array<int, 2> ends{};
  check(pipe2(ends.data(), O_CLOEXEC) == 0, "pipe");
  reading = fcntl(ends[0], F_DUPFD_CLOEXEC, kAboveThose);
  writing = fcntl(ends[1], F_DUPFD_CLOEXEC, kAboveThose);
  check(reading >= 0 && writing >= 0, "pipe");
  close(ends[0]);
  close(ends[1]);
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

}  // namespace spt
