#include "trainer/sweep_state.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "base/durable.h"
#include "base/read_file.h"
#include "base/sha256.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kStateFormat = "spt-sweep";
constexpr int kStateVersion = 1;

ordered_json to_json(const StepState& step) {
  return {{"name", step.name},
          {"arguments", step.arguments},
          {"config_sha256", step.config_sha256},
          {"status", fields_detail::format_any(step.status)},
          {"exit_status", step.exit_status},
          {"seconds", step.seconds},
          {"starts", step.starts},
          {"log", step.log.string()}};
}

ordered_json to_json(const std::vector<StepState>& steps) {
  ordered_json list = ordered_json::array();
  for (const StepState& step : steps) list.push_back(to_json(step));
  return list;
}

ordered_json to_json(const PointState& state) {
  const SweepPoint& point = state.point;
  return {{"name", point.name},
          {"folder", state.folder.string()},
          {"point", point.of},
          {"setting", point.setting},
          {"seed", point.seed ? ordered_json(*point.seed) : ordered_json()},
          {"overrides", point.overrides},
          {"steps", to_json(state.steps)}};
}

StepState step_from(const json& stored) {
  StepState step;
  step.name = stored.at("name").get<std::string>();
  step.arguments = stored.at("arguments").get<std::vector<std::string>>();
  step.config_sha256 = stored.at("config_sha256").get<std::string>();
  const auto status = stored.at("status").get<std::string>();
  if (!fields_detail::parse_any(status, step.status).empty()) throw BadInput("unknown status " + status);
  step.exit_status = stored.at("exit_status").get<int>();
  step.seconds = stored.at("seconds").get<double>();
  step.starts = stored.at("starts").get<int64_t>();
  step.log = stored.at("log").get<std::string>();
  return step;
}

// The steps in a file's `list`; none where there is no file.
std::vector<StepState> steps_in(const fs::path& file, const char* list) {
  std::vector<StepState> steps;
  if (std::error_code error; !fs::exists(file, error)) return steps;
  try {
    const json stored = json::parse(read_file(file));
    if (stored.value("version", kStateVersion) > kStateVersion)
      throw BadInput("was written by a newer version of spt; use that one");
    for (const json& step : stored.at(list)) steps.push_back(step_from(step));
  } catch (const std::exception& error) {
    throw BadInput(
        fmt::format("{}: is damaged ({}); remove it, and everything is looked at again", file.string(), error.what()));
  }
  return steps;
}

// Takes over from `stored` what was done with the same arguments and configuration.
void take_over(const std::vector<StepState>& stored, StepState& now) {
  const auto found = std::find_if(stored.begin(), stored.end(), [&](const StepState& step) {
    return step.name == now.name && step.arguments == now.arguments && step.config_sha256 == now.config_sha256;
  });
  if (found == stored.end()) return;
  now = *found;
  if (now.status == StepStatus::kRunning) now.status = StepStatus::kStopped;
}

StepState line_step(const SweepConfig& config, const std::vector<SweepPoint>& points, const char* kind, size_t i,
                    const std::string& line) {
  StepState step;
  step.name = fmt::format("{}-{}", kind, i + 1);
  step.arguments = command_words(config, points, line);
  step.log = config.dir / (step.name + ".txt");
  return step;
}

}  // namespace

bool PointState::is_done() const {
  return std::all_of(steps.begin(), steps.end(), [](const StepState& step) { return step.is_done(); });
}

bool PointState::has_failed() const {
  return std::any_of(steps.begin(), steps.end(), [](const auto& step) { return step.status == StepStatus::kFailed; });
}

void set_command(StepState& step, const SweepCommand& command) {
  step.name = command.step;
  step.arguments = command.arguments;
  step.config_sha256 = sha256_file(command.config);
}

SweepState load_sweep_state(const SweepConfig& config, const std::vector<SweepPoint>& points) {
  SweepState state;
  for (const auto& [kind, lines, steps] :
       {std::tuple("prepare", &config.prepare, &state.prepare), std::tuple("after", &config.after, &state.after)}) {
    const std::vector<StepState> stored = steps_in(config.dir / "sweep.json", kind);
    for (size_t i = 0; i < lines->size(); ++i)
      take_over(stored, steps->emplace_back(line_step(config, points, kind, i, (*lines)[i])));
  }
  for (const SweepPoint& point : points) {
    PointState& now = state.points.emplace_back(PointState{point, config.dir / point.name, {}});
    const std::vector<StepState> stored = steps_in(now.folder / "point.json", "steps");
    for (const SweepCommand& command : point_commands(config, point)) {
      StepState& step = now.steps.emplace_back();
      set_command(step, command);
      step.log = now.folder / (step.name + ".txt");
      take_over(stored, step);
    }
  }
  return state;
}

void save_point(const PointState& point) {
  write_durable(point.folder / "point.json", to_json(point).dump(2) + "\n");
}

void save_sweep(const fs::path& dir, const SweepState& state) {
  ordered_json all = {{"format", kStateFormat}, {"version", kStateVersion}};
  all.update(state.head);
  all["prepare"] = to_json(state.prepare);
  all["points"] = ordered_json::array();
  for (const PointState& point : state.points) all["points"].push_back(to_json(point));
  all["after"] = to_json(state.after);
  all["comparisons"] = ordered_json::array();
  for (const fs::path& file : state.comparisons) all["comparisons"].push_back(file.string());
  write_durable(dir / "sweep.json", all.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace spt
