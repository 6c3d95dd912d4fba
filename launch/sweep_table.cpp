#include "launch/sweep_table.h"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/progress.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

// The last whole line of a file that is being written.
std::string last_line(const fs::path& path) {
  constexpr std::streamoff kMost = 4096;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = file.tellg();
  if (size <= 0) return "";
  file.seekg(std::max<std::streamoff>(0, size - kMost));
  std::string text(static_cast<size_t>(std::min(size, kMost)), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n'));
  return text.substr(text.rfind('\n') + 1);
}

int64_t lines_below(const fs::path& folder) {
  int64_t lines = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    std::ifstream file(entry.path());
    lines += std::count(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(), '\n') - 1;
  }
  return std::max<int64_t>(0, lines);
}

// How far a running step is: "step 12/32, loss 2.913", "130 items".
std::string how_far(const StepState& step, const PointState& point) {
  if (step.name != "train") return fmt::format("{} items", lines_below(point.folder / step.name / "journal"));
  const json row = json::parse(last_line(point.folder / "metrics.jsonl"), nullptr, false);
  std::ifstream file(point.folder / "manifest.json");
  const json manifest = json::parse(file, nullptr, false);
  if (!row.is_object() || !row.contains("step") || !row.contains("loss") || !row["loss"].is_number() ||
      !manifest.is_object() || !manifest.contains("steps"))
    return "starting";
  return fmt::format("step {}/{}, loss {:.3f}", row["step"].get<int64_t>(), manifest["steps"].get<int64_t>(),
                     row["loss"].get<double>());
}

std::string cell(const StepState& step, const PointState& point) {
  switch (step.status) {
    case StepStatus::kDone:
      return "done " + clock_time(step.seconds);
    case StepStatus::kFailed:
      return fmt::format("failed ({})", step.exit_status);
    case StepStatus::kRunning:
      return how_far(step, point);
    default:
      return fields_detail::format_any(step.status);
  }
}

bool runs(const PointState& point) {
  return std::any_of(point.steps.begin(), point.steps.end(),
                     [](const StepState& step) { return step.status == StepStatus::kRunning; });
}

}  // namespace

Table sweep_table(const SweepState& state, bool unfinished_only) {
  Table table{{{"point", true}}, {}};
  if (!state.points.empty())
    for (const StepState& step : state.points[0].steps) table.columns.push_back({step.name, true});
  for (const PointState& point : state.points) {
    if (unfinished_only && !runs(point) && !point.has_failed()) continue;
    std::vector<Cell>& row = table.rows.emplace_back();
    row.emplace_back(point.point.name);
    for (const StepState& step : point.steps) row.emplace_back(cell(step, point));
  }
  return table;
}

std::string sweep_summary(const SweepState& state) {
  const auto count = [&](auto&& is) { return std::count_if(state.points.begin(), state.points.end(), is); };
  std::string text =
      fmt::format("{} of {} points are done", count([](const auto& p) { return p.is_done(); }), state.points.size());
  if (const auto running = count(runs); running > 0) text += fmt::format(", {} run", running);
  if (const auto failed = count([](const auto& p) { return p.has_failed(); }); failed > 0)
    text += fmt::format(", {} failed", failed);
  return text;
}

std::string sweep_failures(const SweepState& state) {
  std::string text;
  const auto add = [&](const StepState& step, const std::string& name) {
    if (step.status == StepStatus::kFailed)
      text += fmt::format("  {} failed with exit status {}: {}\n", name, step.exit_status, step.log.string());
  };
  for (const PointState& point : state.points)
    for (const StepState& step : point.steps) add(step, point.point.name + ", " + step.name);
  for (const StepState& step : state.after) add(step, step.name);
  return text;
}

void SweepTable::changed(const StepState& step, const PointState* point) {
  if (ProgressBar::has_terminal()) {
    last_ = {};
    return;
  }
  const std::string name = point != nullptr ? point->point.name + ", " + step.name : step.name;
  if (step.status == StepStatus::kFailed)
    spdlog::error("{}: failed with exit status {}, see {}; {}", name, step.exit_status, step.log.string(),
                  sweep_summary(state_));
  else if (step.status == StepStatus::kRunning)
    spdlog::info("{}: started", name);
  else
    spdlog::info("{}: {} after {}; {}", name, fields_detail::format_any(step.status), clock_time(step.seconds),
                 sweep_summary(state_));
}

void SweepTable::draw() {
  if (!ProgressBar::has_terminal() || Clock::now() - last_ < std::chrono::seconds(2)) return;
  last_ = Clock::now();
  const std::string text = aligned_table(sweep_table(state_, true)) + sweep_summary(state_) + "\n";
  std::string drawn = lines_ > 0 ? fmt::format("\x1b[{}A", lines_) : "";
  for (const char c : text) drawn += c == '\n' ? std::string("\x1b[K\n") : std::string(1, c);
  fmt::print(stderr, "{}\x1b[J", drawn);
  lines_ = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace spt
