#include "trainer/console.h"

#include <cstdlib>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "base/log.h"

namespace spt {
namespace {

std::string clock_time(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace

Console::Console(int64_t first_step, int64_t total_steps, int64_t log_every, bool is_rank_0)
    : first_step_(first_step),
      total_steps_(total_steps),
      log_every_(log_every),
      is_rank_0_(is_rank_0),
      is_terminal_(is_rank_0 && (isatty(STDERR_FILENO) != 0 || std::getenv("SPT_TERMINAL") != nullptr)),
      start_(std::chrono::steady_clock::now()) {}

double Console::eta_seconds(int64_t step) const {
  const double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return spent / static_cast<double>(step - first_step_) * static_cast<double>(total_steps_ - step);
}

void Console::show(const MetricsRow& row) {
  if (!is_rank_0_) return;
  const bool is_due = row.step % log_every_ == 0 || row.step == total_steps_;
  const std::string line = fmt::format(
      "step {}/{}  epoch {}  loss {:.4f}  grad norm {:.3f}  lr {:.3g}  {:.0f} tok/s  ETA {}", row.step, total_steps_,
      row.epoch, row.loss, row.grad_norm, row.lr, row.tokens_per_second, clock_time(eta_seconds(row.step)));
  if (is_terminal_) {
    if (is_due) log_to_file_only(line);
    constexpr int64_t kWidth = 24;
    const int64_t full = row.step * kWidth / total_steps_;
    fmt::print(stderr, "\r[{:=<{}}{: <{}}] {}/{}  loss {:.4f}  {:.0f} tok/s  ETA {} \x1b[K", "", full, "",
               kWidth - full, row.step, total_steps_, row.loss, row.tokens_per_second,
               clock_time(eta_seconds(row.step)));
    on_bar_ = true;
    if (row.step == total_steps_) pause();
  } else if (is_due) {
    spdlog::info("{}", line);
  }
}

void Console::pause() {
  if (!on_bar_) return;
  fmt::print(stderr, "\n");
  on_bar_ = false;
}

}  // namespace spt
