#include "trainer/console.h"

#include <fmt/format.h>

#include "base/log.h"

namespace spt {

Console::Console(int64_t first_step, int64_t total_steps, int64_t log_every, bool is_rank_0)
    : total_steps_(total_steps), log_every_(log_every), is_rank_0_(is_rank_0), bar_(first_step, total_steps) {}

void Console::show(const MetricsRow& row) {
  if (!is_rank_0_) return;
  const bool is_due = row.step % log_every_ == 0 || row.step == total_steps_;
  const std::string speed = fmt::format("{:.0f} tok/s{}", row.tokens_per_second,
                                        row.mfu ? fmt::format("  mfu {:.1f}%", 100 * *row.mfu) : std::string());
  const std::string line =
      fmt::format("step {}/{}  epoch {}  loss {:.4f}  grad norm {:.3f}  lr {:.3g}  {}  ETA {}", row.step, total_steps_,
                  row.epoch, row.loss, row.grad_norm, row.lr, speed, bar_.time_left(row.step));
  if (ProgressBar::has_terminal()) {
    if (is_due) log_to_file_only(line);
    bar_.draw(row.step, fmt::format("loss {:.4f}  {}", row.loss, speed));
  } else if (is_due) {
    spdlog::info("{}", line);
  }
}

}  // namespace spt
