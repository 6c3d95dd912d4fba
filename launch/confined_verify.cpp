#include "launch/confined_verify.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "data/dataset.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

constexpr rlim_t kMemory = rlim_t{2} << 30;  // bytes, above what the program's libraries take
constexpr size_t kMaxMessage = 1 << 16;

// A sound file is unpacked and hashed at 100 MB/s and more; libhdf5 lets damage in its tables loop.
std::chrono::seconds time_limit(const fs::path& path, int64_t seconds) {
  if (seconds > 0) return std::chrono::seconds(seconds);
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  return std::chrono::seconds(60 + (error ? 0 : bytes / 1'000'000));
}

void limit(int resource, rlim_t value) {
  const rlimit both{value, value};
  if (setrlimit(static_cast<__rlimit_resource>(resource), &both) != 0)
    throw Failure(fmt::format("setrlimit: {}", std::strerror(errno)));
}

rlim_t address_space_in_use() {
  rlim_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

class Child {
 public:
  // Runs this program with `arguments`; its output comes through a pipe, its errors nowhere.
  explicit Child(std::vector<std::string> arguments) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw Failure(fmt::format("pipe: {}", std::strerror(errno)));
    output_ = ends[0];
    std::vector<char*> argv = {const_cast<char*>("spt")};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    const int error = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (error != 0) {
      close(output_);
      throw Failure(fmt::format("starting a process to verify the file: {}", std::strerror(error)));
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    close(output_);
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }

  // What it printed until its end (at most kMaxMessage bytes); false when it is still running after `seconds`.
  bool read_all(std::chrono::seconds seconds, std::string& text) const {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + seconds;
    std::array<char, 4096> part{};
    while (text.size() < kMaxMessage) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
      pollfd ready{output_, POLLIN, 0};
      const int polled = poll(&ready, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000'000)));
      if (polled == 0) return false;
      const ssize_t count = polled < 0 ? polled : read(output_, part.data(), part.size());
      if (count == 0) return true;
      if (count > 0) text.append(part.data(), static_cast<size_t>(count));
      if (count < 0 && errno != EINTR) throw Failure(fmt::format("reading a pipe: {}", std::strerror(errno)));
    }
    return true;
  }
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
  int output_ = -1;
};

}  // namespace

void verify_corpus_apart(const fs::path& path, int64_t seconds) {
  const auto most = time_limit(path, seconds);
  Child child({"inspect", path.string(), kConfinedOption, "--verify-seconds", std::to_string(seconds)});
  std::string message;
  const auto refuse = [&](const std::string& how) {
    throw BadInput(
        fmt::format("{}: is damaged or hostile: the process that opened it {}; make it again with spt prepare",
                    path.string(), how));
  };
  if (!child.read_all(most, message))
    refuse(fmt::format("was not done after {} s (--verify-seconds N gives it more)", most.count()));
  const int status = child.wait();
  if (WIFSIGNALED(status)) refuse(fmt::format("crashed ({})", strsignal(WTERMSIG(status))));
  if (WEXITSTATUS(status) == static_cast<int>(ExitStatus::kBadInput)) throw BadInput(message);
  if (WEXITSTATUS(status) != 0)
    refuse(message.empty() ? fmt::format("ended with status {}", WEXITSTATUS(status))
                           : fmt::format("failed: {}", message));
}

int verify_corpus_confined(const fs::path& path, int64_t seconds) {
  try {
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, static_cast<rlim_t>(time_limit(path, seconds).count()));
    limit(RLIMIT_AS, address_space_in_use() + kMemory);
    Dataset(path).verify();
    return static_cast<int>(ExitStatus::kDone);
  } catch (const BadInput& error) {
    fmt::print("{}", error.what());
    return static_cast<int>(ExitStatus::kBadInput);
  } catch (const std::bad_alloc&) {
    fmt::print("it takes more than {} GB of memory", kMemory >> 30);
    return static_cast<int>(ExitStatus::kFailure);
  }
}

}  // namespace spt
