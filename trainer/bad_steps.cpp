#include "trainer/bad_steps.h"

#include <cmath>

#include <fmt/format.h>

#include "base/log.h"
#include "data/printable.h"
#include "dist/text.h"

namespace spt {
namespace {

constexpr size_t kNamed = 32;  // rows of a rank that a message names

}  // namespace

void BadSteps::see(const MetricsRow& row, const RankNumbers& mine) {
  if (std::isfinite(row.loss) && std::isfinite(row.grad_norm)) {
    in_a_row_ = 0;
    return;
  }
  ++in_a_row_;
  std::string places;
  for (const std::string& text : all_gather_text(runtime_.host_world(), describe(mine)))
    if (!text.empty()) places += "\n" + text;
  if (places.empty()) places = "\nfrom no rank's own gradients: any example of the step";
  if (runtime_.rank() == 0)
    spdlog::warn("step {} is not applied: loss {}, gradient norm {} ({} in a row, train.max_bad_steps is {}){}",
                 row.step, row.loss, row.grad_norm, in_a_row_, most_, places);
}

std::string BadSteps::advice(const MetricsRow& last, double lr) const {
  return fmt::format(
      "step {}: loss {} or gradient norm {} is not finite, in {} step(s) in a row (train.max_bad_steps), of which none "
      "was "
      "applied; checkpoints are unharmed by them. Where every step is bad: another run.dir and an optimizer.lr below "
      "{}. "
      "Where it comes from some examples: the rows named above, spt inspect CORPUS --rows shows them",
      last.step, last.loss, last.grad_norm, in_a_row_, lr);
}

std::string BadSteps::describe(const RankNumbers& mine) const {
  std::vector<int64_t> with_bad_loss, all;
  for (size_t pass = 0; pass < mine.rows.size(); ++pass) {
    all.insert(all.end(), mine.rows[pass].begin(), mine.rows[pass].end());
    if (!std::isfinite(mine.losses[pass]))
      with_bad_loss.insert(with_bad_loss.end(), mine.rows[pass].begin(), mine.rows[pass].end());
  }
  const auto where = [&] {
    return fmt::format("rank {}@{}", runtime_.rank(), runtime_.hosts()[static_cast<size_t>(runtime_.rank())]);
  };
  if (!with_bad_loss.empty())
    return mine.speaks ? fmt::format("{}: the loss of a micro-batch of {}", where(), name(with_bad_loss)) : "";
  if (!mine.is_gradient_finite) return fmt::format("{}: the gradient alone, of {}", where(), name(all));
  return "";
}

std::string BadSteps::name(const std::vector<int64_t>& rows) const {
  std::string text = rows.size() == 1 ? "row" : "rows";
  for (size_t i = 0; i < rows.size() && i < kNamed; ++i)
    text += fmt::format("{} {} (id {})", i == 0 ? "" : ",", rows[i], printable(corpus_.id(rows[i])));
  if (rows.size() > kNamed) text += fmt::format(" and {} more", rows.size() - kNamed);
  return text;
}

}  // namespace spt
