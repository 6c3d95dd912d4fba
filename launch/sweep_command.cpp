#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/durable.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/stop.h"
#include "dist/runtime.h"
#include "launch/commands.h"
#include "launch/one_rank.h"
#include "launch/options.h"
#include "launch/sweep_compare.h"
#include "launch/sweep_run.h"
#include "launch/sweep_slurm.h"
#include "launch/sweep_table.h"
#include "trainer/manifest.h"
#include "trainer/run_lock.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPointLock = "point.lock";

struct SweepArguments {
  fs::path file;
  std::vector<std::string> overrides;
  bool list = false, dry_run = false, slurm = false;
  // A part of the sweep, as a job of --slurm does it.
  bool prepare = false, finish = false;
  std::optional<size_t> point;

  SweepPart part() const {
    if (point) return SweepPart::kPoint;
    if (prepare) return SweepPart::kPrepare;
    return finish ? SweepPart::kFinish : SweepPart::kAll;
  }
};

// A word as a shell reads it.
std::string shell_word(const std::string& word) {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-=:,@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

void print_state(const SweepState& state) {
  fmt::print("{}{}\n{}", aligned_table(sweep_table(state, false)), sweep_summary(state), sweep_failures(state));
}

void print_commands(const SweepConfig& config, const SweepState& state) {
  const auto print = [](std::vector<std::string> words, const StepState& step) {
    words.insert(words.end(), step.arguments.begin(), step.arguments.end());
    for (std::string& word : words) word = shell_word(word);
    fmt::print("{}{}\n", fmt::join(words, " "), step.is_done() ? "   # done" : "");
  };
  for (const StepState& line : state.prepare) print({"spt"}, line);
  for (const PointState& point : state.points) {
    fmt::print("\n# {}\n", point.point.name);
    for (const StepState& step : point.steps) print(launch_words(config), step);
  }
  if (!state.after.empty()) fmt::print("\n");
  for (const StepState& line : state.after) print({"spt"}, line);
  fmt::print("\n{} points, {} at a time, {} rank(s) of {} thread(s) each; nothing was started\n", state.points.size(),
             points_at_a_time(config), config.ranks, config.threads);
}

void make_folder(const fs::path& dir) {
  require_writable_below(dir, "dir");
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) throw BadInput(fmt::format("dir {} cannot be made: {}", dir.string(), error.message()));
}

void require_free(const fs::path& folder, const char* lock) {
  if (const auto holder = run_lock_holder(folder, lock))
    throw BadInput(fmt::format("{}: this sweep is in use by {}; wait for it", (folder / lock).string(), *holder));
}

void log_end(ExitStatus status, const SweepState& state) {
  if (status == ExitStatus::kStopped)
    spdlog::info("stopped on request; start the same command again to go on");
  else if (status == ExitStatus::kFailure)
    spdlog::error("{}; start the same command again to run what failed:\n{}", sweep_summary(state),
                  sweep_failures(state));
}

// One point, beside others that other jobs do.
int run_point(size_t index, const SweepConfig& config, const std::vector<SweepPoint>& points) {
  if (index >= points.size()) throw BadInput(fmt::format("--point is {}, must be 0 to {}", index, points.size() - 1));
  const SweepPoint& point = points[index];
  const fs::path folder = config.dir / point.name;
  make_folder(folder);
  require_free(config.dir, kRunLock);
  const RunLock lock(folder, kPointLock);
  SweepState state;
  state.points = load_sweep_state(config, {point}).points;
  install_stop_handlers();
  const ExitStatus status = run_sweep(config, state, SweepPart::kPoint);
  print_state(state);
  log_end(status, state);
  const std::vector<StepState>& steps = state.points[0].steps;
  // As spt train and spt eval: the same would be refused again.
  const bool refused = std::any_of(steps.begin(), steps.end(), [](const StepState& step) {
    return step.status == StepStatus::kFailed && step.exit_status == static_cast<int>(ExitStatus::kBadInput);
  });
  return static_cast<int>(refused ? ExitStatus::kBadInput : status);
}

int run_in_folder(const SweepArguments& options, const SweepConfig& config, SweepState& state,
                  const std::vector<std::string>& argv) {
  make_folder(config.dir);
  const RunLock lock(config.dir);
  for (const PointState& point : state.points) require_free(point.folder, kPointLock);
  state = load_sweep_state(config, expand_points(config));  // again: another sweep may have ended since
  state.head = {{"program", build_info()},
                {"command_line", argv},
                {"file", options.file.string()},
                {"file_sha256", sha256_file(options.file)}};
  install_stop_handlers();
  ExitStatus status = run_sweep(config, state, options.part());
  print_state(state);
  if (options.prepare) return static_cast<int>(status);
  const auto [comparisons, some_refused] = write_comparisons(config, state);
  save_sweep(config.dir, state);
  if (!comparisons.empty()) fmt::print("\n{}", comparisons);
  if (status == ExitStatus::kDone && some_refused) status = ExitStatus::kFailure;
  log_end(status, state);
  return static_cast<int>(status);
}

int submit(const SweepArguments& options, const SweepConfig& config, const SweepState& state) {
  make_folder(config.dir);
  for (const PointState& point : state.points) require_free(point.folder, kPointLock);
  fmt::print("{}", submit_sweep(config, state, options.file, options.overrides));
  fmt::print("their outputs are in {}; `spt sweep {} --list` shows how far it is\n", (config.dir / "slurm").string(),
             options.file.string());
  return static_cast<int>(ExitStatus::kDone);
}

int run(const SweepArguments& options, int argc, char** argv) {
  if (started_by_launcher())
    throw BadInput("this starts an mpirun a point: start it without mpirun or srun (ranks: N in the file is theirs)");
  const SweepConfig config = load_sweep_config(options.file, options.overrides);
  const std::vector<SweepPoint> points = expand_points(config);
  check_points(config, points);
  if (options.point) return run_point(*options.point, config, points);
  SweepState state = load_sweep_state(config, points);
  if (options.list) {
    print_state(state);
    return static_cast<int>(ExitStatus::kDone);
  }
  check_tasks(config, points);
  if (options.dry_run) {
    print_commands(config, state);
    return static_cast<int>(ExitStatus::kDone);
  }
  if (options.slurm) return submit(options, config, state);
  return run_in_folder(options, config, state, {argv, argv + argc});
}

}  // namespace

void add_sweep(CLI::App& app, Action& action) {
  const auto options = std::make_shared<SweepArguments>();
  CLI::App* command = app.add_subcommand("sweep", "trains and evaluates every point of a grid, several at a time");
  command->add_option("SWEEP", options->file, "YAML file")->required();
  command->add_option("key=value", options->overrides, "values that take the place of the file's");
  auto* how = command->add_option_group("how")->require_option(0, 1);
  how->add_flag("--list", options->list, "the points and how far they are; starts nothing");
  how->add_flag("--dry-run", options->dry_run, "checks every point and prints what would be started");
  how->add_flag("--slurm", options->slurm, "submits the points that are not done as an array, a table behind them");
  how->add_flag("--prepare", options->prepare, "what is `prepare` only (a job of --slurm)");
  how->add_option("--point", options->point, "this point only, counted from 0 (a task of --slurm's array)")
      ->check(CLI::NonNegativeNumber);
  how->add_flag("--finish", options->finish, "starts no point: comparisons and what is `after` (a job of --slurm)");
  command->footer([] {
    return keys_help<SweepConfig>() +
           "Each point has a run folder DIR/POINT, each process a log DIR/POINT/STEP.txt; DIR/sweep.json names all.\n"
           "Started again it goes on: what is done is skipped, what failed or was stopped runs again.\n"
           "Example: spt sweep configs/sweeps/spt_study.yaml inputs.bench=benchmarks\n"
           "         spt sweep configs/sweeps/spt_study.yaml inputs.bench=benchmarks --slurm "
           "'slurm.options=[--time=4:00:00]'";
  });
  command->callback([options, &action] {
    action = [options](int argc, char** argv) {
      return run_on_one_rank(argc, argv, "each point is an mpirun of its own",
                             [&] { return run(*options, argc, argv); });
    };
  });
}

}  // namespace spt
