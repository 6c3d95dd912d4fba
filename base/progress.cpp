#include "base/progress.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>
#include <unistd.h>

namespace spt {

ProgressBar::ProgressBar(int64_t done, int64_t total, int64_t fewest)
    : first_(done), total_(total), fewest_(fewest), start_(std::chrono::steady_clock::now()) {}

bool ProgressBar::has_terminal() {
  return isatty(STDERR_FILENO) != 0 || std::getenv("SPT_TERMINAL") != nullptr;
}

void ProgressBar::draw(int64_t done, const std::string& remarks) {
  constexpr int64_t kWidth = 24;
  const int64_t full = total_ > 0 ? done * kWidth / total_ : kWidth;
  fmt::print(stderr, "\r[{:=<{}}{: <{}}] {}/{}  {}  ETA {} \x1b[K", "", full, "", kWidth - full, done, total_, remarks,
             time_left(done));
  on_bar_ = true;
  if (done == total_) end_line();
}

void ProgressBar::end_line() {
  if (!on_bar_) return;
  fmt::print(stderr, "\n");
  on_bar_ = false;
}

std::string ProgressBar::time_left(int64_t done) const {
  if (done < first_ + fewest_) return "?";
  const double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return clock_time(spent / static_cast<double>(done - first_) * static_cast<double>(total_ - done));
}

std::string clock_time(double seconds) {
  const int64_t s = std::lround(seconds);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace spt
