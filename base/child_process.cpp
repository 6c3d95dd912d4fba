#include "base/child_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

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

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

// `streams`: its input, output and errors; below 0 is /dev/null. Throws Failure when it cannot be started.
pid_t spawn(std::vector<std::string>& command, char** environment, std::array<int, 3> streams, bool new_session) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int stream = 0; stream < 3; ++stream) {
    const int given = streams[static_cast<size_t>(stream)];
    if (given >= 0)
      posix_spawn_file_actions_adddup2(&actions, given, stream);
    else
      posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_RDWR, 0);
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  if (new_session) posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  pid_t pid = -1;
  const int error =
      posix_spawnp(&pid, command[0].c_str(), &actions, &attributes, pointers(command).data(), environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) throw Failure(fmt::format("starting {}: {}", command[0], std::strerror(error)));
  return pid;
}

// The status of a child that has ended, or with `options` WNOHANG nothing. Where SIGCHLD is ignored, or another part of
// this process waits for any child, there is no status: not the same as 0.
std::optional<int> wait_for(pid_t pid, int options) {
  int status = 0;
  pid_t ended = 0;
  while ((ended = waitpid(pid, &status, options)) < 0 && errno == EINTR) {
  }
  if (ended < 0) throw Failure(fmt::format("waiting for a process: {}", std::strerror(errno)));
  return ended == 0 ? std::nullopt : std::optional(status);
}

class Child {
 public:
  Child(std::vector<std::string>& command, int input, const Descriptor& writing, bool merge_errors)
      : pid_(spawn(command, environ, {input, writing.number(), merge_errors ? writing.number() : -1}, false)) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  int wait() { return wait_for(std::exchange(pid_, -1), 0).value(); }

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

BackgroundChild::BackgroundChild(std::vector<std::string> command, const std::vector<std::string>& environment,
                                 const std::filesystem::path& log) {
  const int opened = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (opened < 0) throw Failure(fmt::format("{}: {}", log.string(), std::strerror(errno)));
  const Descriptor output(opened, "open");
  std::vector<std::string> all = environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    const std::string name = text.substr(0, text.find('=') + 1);
    if (std::none_of(environment.begin(), environment.end(), [&](const auto& ours) { return ours.starts_with(name); }))
      all.push_back(text);
  }
  pid_ = spawn(command, pointers(all).data(), {-1, output.number(), output.number()}, true);
}

BackgroundChild::~BackgroundChild() {
  if (status_) return;
  kill(pid_, SIGTERM);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::optional<int> BackgroundChild::status() {
  if (!status_) status_ = wait_for(pid_, WNOHANG);
  return status_;
}

void BackgroundChild::signal(int number) const {
  if (!status_) kill(pid_, number);
}

std::vector<MarkedProcess> marked_processes(const std::string& mark) {
  std::vector<MarkedProcess> found;
  std::error_code gone;  // a process that ended while it was looked at
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    pid_t pid = 0;
    const std::string name = entry.path().filename().string();
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc()) continue;
    std::ifstream file(entry.path() / "environ", std::ios::binary);
    for (std::string variable; std::getline(file, variable, '\0');)
      if (variable.starts_with(mark)) {
        found.push_back({pid, getsid(pid) == pid});
        break;
      }
  }
  return found;
}

}  // namespace spt
