#include "launch/sandbox/watch.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstring>

#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

namespace spt {

void Watch::until_end() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(limits_.wall_seconds);
  while (!stopped_ && !report_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
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

void Watch::take_rest() {
  while (!output_ended_ && stopped_ != SandboxStatus::kOutputLimit) take_output();
}

SandboxStatus Watch::verdict(const std::string& marker) {
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

void Watch::take_output() {
  std::array<char, 4096> part{};
  const ssize_t count = read(pipes_.output.reading, part.data(), part.size());
  if (count <= 0) output_ended_ = count == 0 || errno != EINTR;
  if (count <= 0) return;
  const size_t room = static_cast<size_t>(limits_.output_bytes) - output_.size();
  output_.append(part.data(), std::min(room, static_cast<size_t>(count)));
  if (static_cast<size_t>(count) > room) stopped_ = SandboxStatus::kOutputLimit;
}

void Watch::take_report() {
  Report report;
  if (read(pipes_.report.reading, &report, sizeof report) == sizeof report)
    report_ = report;
  else
    throw Failure("process 1 of the sandbox ended before the code");
}

std::string Watch::told_marker() const {
  std::array<char, 64> bytes{};
  const ssize_t count = read(pipes_.marker_out.reading, bytes.data(), bytes.size());
  return {bytes.data(), static_cast<size_t>(std::max<ssize_t>(count, 0))};
}

}  // namespace spt
