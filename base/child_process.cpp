#include "base/child_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

namespace spt {
namespace {

class Descriptor {
 public:
  Descriptor(int number, const char* what) : number_(number) {
    if (number < 0) throw Failure(fmt::format("{}: {}", what, std::strerror(errno)));
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(number_); }
  int number() const { return number_; }

 private:
  int number_;
};

class Child {
 public:
  Child(std::vector<std::string>& command, int input, const Descriptor& writing, bool merge_errors) {
    std::vector<char*> argv;
    for (std::string& argument : command) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, writing.number(), STDOUT_FILENO);
    if (merge_errors)
      posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    else
      posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    const int error = posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw Failure(fmt::format("starting {}: {}", argv[0], std::strerror(error)));
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  // Where SIGCHLD is ignored, or another part of this process waits for any child, there is no status: not the same as
  // 0.
  int wait() {
    int status = 0;
    pid_t ended = 0;
    while ((ended = waitpid(pid_, &status, 0)) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    if (ended < 0) throw Failure(fmt::format("waiting for a process: {}", std::strerror(errno)));
    return status;
  }

 private:
  pid_t pid_ = -1;
};

// In memory, so that nobody has to write while the child reads.
void fill(const Descriptor& file, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t count = write(file.number(), bytes.data() + done, bytes.size() - done);
    if (count < 0) throw Failure(fmt::format("writing a process's input: {}", std::strerror(errno)));
    done += static_cast<size_t>(count);
  }
  lseek(file.number(), 0, SEEK_SET);
}

// False when the writer still holds the pipe at `end`.
bool read_until(std::chrono::steady_clock::time_point end, int pipe, size_t most, std::string& text) {
  std::array<char, 4096> part{};
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd ready{pipe, POLLIN, 0};
    const int polled = poll(&ready, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000'000)));
    if (polled == 0) return false;
    const ssize_t count = polled < 0 ? polled : read(pipe, part.data(), part.size());
    if (count == 0) return true;
    if (count > 0) text.append(part.data(), std::min(static_cast<size_t>(count), most - text.size()));
    if (count < 0 && errno != EINTR) throw Failure(fmt::format("reading a pipe: {}", std::strerror(errno)));
  }
  return true;
}

}  // namespace

ChildResult run_child(std::vector<std::string> command, const std::string& input, bool merge_errors,
                      std::chrono::seconds limit, size_t most_output) {
  const auto end = std::chrono::steady_clock::now() + limit;
  const Descriptor file(memfd_create("input", MFD_CLOEXEC), "memfd_create");
  fill(file, input);
  std::array<int, 2> ends{-1, -1};
  const int piped = pipe2(ends.data(), O_CLOEXEC);
  const Descriptor reading(piped == 0 ? ends[0] : -1, "pipe");
  std::optional<Descriptor> writing(std::in_place, ends[1], "pipe");
  Child child(command, file.number(), *writing, merge_errors);
  writing.reset();
  ChildResult result;
  result.in_time = read_until(end, reading.number(), most_output, result.output);
  if (result.in_time) result.status = child.wait();
  return result;
}

}  // namespace spt
