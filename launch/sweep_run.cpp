#include "launch/sweep_run.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <list>
#include <memory>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child_process.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/read_file.h"
#include "base/stop.h"
#include "dist/cuda_device.h"
#include "launch/sweep_table.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr auto kPause = std::chrono::milliseconds(100);
constexpr seconds kAskAgain{5};        // ranks that were just being started did not hear the first time
constexpr seconds kWithoutMpirun{30};  // for ranks to end whose mpirun is gone

int exit_status_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::string end_of(const fs::path& log) {
  constexpr size_t kMost = 2000;
  const std::string text = read_file(log);
  return text.size() <= kMost ? text : text.substr(text.size() - kMost);
}

// Whether a step is done, by what it leaves: srun answers 0 also where a node refused to start it.
bool left_its_result(const StepState& step, const PointState& point) {
  if (step.name != "train") return fs::exists(point.folder / step.name / "results.json");
  std::ifstream file(point.folder / "manifest.json");
  const nlohmann::json manifest = nlohmann::json::parse(file, nullptr, false);
  if (!manifest.is_object() || !manifest.contains("steps")) return false;
  return fs::exists(point.folder / "checkpoints" / fmt::format("step-{:06}", manifest["steps"].get<int64_t>()));
}

// A process of a step, until all of its ranks have ended too.
struct Running {
  StepState& step;
  PointState* point;  // none of a line
  std::string mark;
  Clock::time_point begin;
  std::unique_ptr<BackgroundChild> child;
  std::optional<Clock::time_point> ended = {};
};

class SweepRun {
 public:
  SweepRun(const SweepConfig& config, SweepState& state, SweepPart part)
      : config_(config),
        state_(state),
        part_(part),
        program_(fs::read_symlink("/proc/self/exe").string()),
        mark_("SPT_SWEEP_STEP=" + fs::canonical(config.dir).string() + "/"),
        most_(points_at_a_time(config)),
        table_(state) {}

  ExitStatus run() {
    end_leftovers();
    if (does(SweepPart::kPoint)) reset_unfinished();
    if (does(SweepPart::kPrepare))
      for (StepState& line : state_.prepare)
        if (!stopping_) prepare(line);
    if (does(SweepPart::kPoint)) run_points();
    if (does(SweepPart::kFinish)) run_after();
    save();
    if (stopping_) return ExitStatus::kStopped;
    const auto done = [](const auto& all) {
      return std::all_of(all.begin(), all.end(), [](const auto& one) { return one.is_done(); });
    };
    if (part_ == SweepPart::kPrepare) return ExitStatus::kDone;
    if (done(state_.points) && (part_ == SweepPart::kPoint || done(state_.after))) return ExitStatus::kDone;
    return ExitStatus::kFailure;
  }

 private:
  bool does(SweepPart part) const { return part_ == SweepPart::kAll || part_ == part; }

  void save() const {
    if (part_ != SweepPart::kPoint) save_sweep(config_.dir, state_);
  }

  void end_leftovers() {
    // Other points may run on this host, in jobs of their own.
    const std::string mark = part_ == SweepPart::kPoint ? mark_ + state_.points[0].point.name + "/" : mark_;
    for (Clock::time_point asked{}; !stopping_ && part_ != SweepPart::kFinish;) {
      const std::vector<MarkedProcess> left = marked_processes(mark);
      if (left.empty()) return;
      if (Clock::now() - asked > kAskAgain) {
        std::vector<pid_t> pids;
        for (const MarkedProcess& process : left) pids.push_back(process.pid);
        spdlog::warn(
            "{} processes of this sweep still run, though it was killed: asked to save, waiting for them; one "
            "that hangs is ended by kill -9 (pids {})",
            left.size(), fmt::join(pids, ", "));
        for (const MarkedProcess& process : left)
          if (process.leads_session) kill(process.pid, SIGUSR1);
        asked = Clock::now();
      }
      std::this_thread::sleep_for(kPause);
      stopping_ = stop_requested();
    }
  }

  void reset_unfinished() {
    for (PointState& point : state_.points)
      for (StepState& step : point.steps)
        if (!step.is_done()) step.status = StepStatus::kWaiting;
  }

  void prepare(StepState& line) {
    const std::vector<fs::path> outputs = outputs_of(line.arguments);
    std::error_code error;
    const auto there =
        std::count_if(outputs.begin(), outputs.end(), [&](const auto& o) { return fs::exists(o, error); });
    // Outputs appear whole: all of them after a start of this line means that it was done.
    if (line.starts > 0 && static_cast<size_t>(there) == outputs.size()) {
      line.status = StepStatus::kDone;
      return;
    }
    for (const fs::path& output : outputs)
      if (line.starts == 0 && fs::exists(output, error))
        throw BadInput(
            fmt::format("{}: is there, and this sweep's \"{}\" did not make it: remove it, or let --out name another",
                        output.string(), fmt::join(line.arguments, " ")));
    run_line(line);
    if (line.status != StepStatus::kFailed) return;
    const std::string message =
        fmt::format("prepare: \"{}\" ended with status {}; the end of {}:\n{}", fmt::join(line.arguments, " "),
                    line.exit_status, line.log.string(), end_of(line.log));
    if (line.exit_status == static_cast<int>(ExitStatus::kBadInput)) throw BadInput(message);
    throw Failure(message);
  }

  void run_line(StepState& line) {
    start(line, nullptr, {program_});
    while (!running_.empty()) look();
  }

  void run_points() {
    auto next = state_.points.begin();
    while (true) {
      for (; !stopping_ && static_cast<int64_t>(running_.size()) < most_ && next != state_.points.end(); ++next) {
        fs::create_directories(next->folder);
        start_next_step(*next);
      }
      if (running_.empty()) return;
      look();
    }
  }

  void run_after() {
    const bool all_done = std::all_of(state_.points.begin(), state_.points.end(),
                                      [](const PointState& point) { return point.is_done(); });
    for (StepState& line : state_.after) {
      // It was made of what has changed.
      if (point_ran_ || part_ == SweepPart::kFinish) line.status = StepStatus::kWaiting;
      if (!stopping_ && all_done && !line.is_done()) run_line(line);
    }
  }

  // The first that is not done; nothing where all are.
  void start_next_step(PointState& point) {
    for (StepState& step : point.steps) {
      if (step.is_done()) continue;
      // The checkpoint that an evaluation reads is known by now.
      for (const SweepCommand& command : point_commands(config_, point.point))
        if (command.step == step.name) set_command(step, command);
      start(step, &point, launch_words(config_));
      return;
    }
  }

  void start(StepState& step, PointState* point, std::vector<std::string> words) {
    words.insert(words.end(), step.arguments.begin(), step.arguments.end());
    const std::string mark = mark_ + (point != nullptr ? point->point.name + "/" : "") + step.name + "/";
    step.status = StepStatus::kRunning;
    ++step.starts;
    point_ran_ = point_ran_ || point != nullptr;
    record(point);
    const std::vector<std::string> environment{mark, fmt::format("OMP_NUM_THREADS={}", config_.threads)};
    running_.push_back(
        {step, point, mark, Clock::now(), std::make_unique<BackgroundChild>(std::move(words), environment, step.log)});
    table_.changed(step, point);
  }

  void record(const PointState* point) const {
    if (point != nullptr) save_point(*point);
    save();
  }

  // One look at all processes, and a pause.
  void look() {
    if (stop_requested() && !stopping_) {
      spdlog::info("stopping: what runs saves and ends");
      stopping_ = true;
    }
    if (stopping_ && Clock::now() - asked_ > kAskAgain) {
      for (const Running& running : running_) running.child->signal(SIGUSR1);
      asked_ = Clock::now();
    }
    for (auto running = running_.begin(); running != running_.end();) {
      if (!has_ended(*running)) {
        ++running;
        continue;
      }
      PointState* point = running->point;
      finish(*running);
      const bool goes_on = point != nullptr && running->step.is_done() && !stopping_;
      running = running_.erase(running);
      if (goes_on) start_next_step(*point);
    }
    table_.draw();
    std::this_thread::sleep_for(kPause);
  }

  // Ranks may outlive an mpirun that was killed, and hold the run folder.
  static bool has_ended(Running& running) {
    if (!running.child->status()) return false;
    if (!running.ended) running.ended = Clock::now();
    const std::vector<MarkedProcess> left = marked_processes(running.mark);
    if (Clock::now() - *running.ended > kWithoutMpirun)
      for (const MarkedProcess& process : left) kill(process.pid, SIGKILL);
    return left.empty();
  }

  void finish(Running& running) {
    StepState& step = running.step;
    step.exit_status = exit_status_of(*running.child->status());
    if (step.exit_status == 0 && running.point != nullptr && !left_its_result(step, *running.point))
      step.exit_status = static_cast<int>(ExitStatus::kFailure);
    step.seconds += std::chrono::duration<double>(*running.ended - running.begin).count();
    const bool by_itself = step.exit_status == static_cast<int>(ExitStatus::kBadInput) ||
                           step.exit_status == static_cast<int>(ExitStatus::kFailure);
    if (step.exit_status == 0) {
      step.status = StepStatus::kDone;
    } else if (step.exit_status == static_cast<int>(ExitStatus::kStopped) || (stopping_ && !by_itself)) {
      step.status = StepStatus::kStopped;  // the signal ends a rank that has not begun to listen
      stopping_ = true;
    } else {
      step.status = StepStatus::kFailed;
    }
    record(running.point);
    table_.changed(step, running.point);
  }

  const SweepConfig& config_;
  SweepState& state_;
  SweepPart part_;
  std::string program_;
  std::string mark_;  // of the environment of all that this sweep starts
  int64_t most_;
  SweepTable table_;
  std::list<Running> running_;
  bool stopping_ = false;
  bool point_ran_ = false;   // in this call
  Clock::time_point asked_;  // the last time that all were asked to stop
};

// A number in the environment of a Slurm job; 0 where there is none.
int64_t of_slurm(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atoll(text) : 0;
}

// A step of this job, of its own processors, beside others.
std::vector<std::string> srun_words(const SweepConfig& config) {
  std::vector<std::string> words{"srun", "--mpi=pmix", "--export=ALL", "--exact", "--kill-on-bad-exit=1"};
  // On as few nodes as its ranks need, not on all of the job's.
  const int64_t nodes = of_slurm("SLURM_JOB_NUM_NODES"), tasks = of_slurm("SLURM_NTASKS");
  if (nodes > 0 && tasks > 0) words.push_back(fmt::format("--nodes={}", (config.ranks * nodes + tasks - 1) / tasks));
  words.push_back(fmt::format("--ntasks={}", config.ranks));
  words.push_back(fmt::format("--cpus-per-task={}", config.threads));
  return words;
}

}  // namespace

int64_t points_at_a_time(const SweepConfig& config) {
  if (config.parallel) return *config.parallel;
  if (cuda_device_count() > 0) return 1;
  if (const int64_t tasks = of_slurm("SLURM_NTASKS"); tasks > 0) return std::max<int64_t>(1, tasks / config.ranks);
  cpu_set_t mine;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof(mine), &mine);
  return std::max<int64_t>(1, CPU_COUNT(&mine) / (config.ranks * config.threads));
}

std::vector<std::string> launch_words(const SweepConfig& config) {
  std::vector<std::string> words;
  for (const std::string& word : config.launcher)
    words.push_back(word == "{ranks}" ? std::to_string(config.ranks) : word);
  if (words.empty() && of_slurm("SLURM_JOB_ID") > 0) words = srun_words(config);
  if (words.empty()) {
    words = {"mpirun", "-np", std::to_string(config.ranks), "--oversubscribe", "--bind-to", "none"};
    if (geteuid() == 0) words.emplace_back("--allow-run-as-root");
  }
  words.push_back(fs::read_symlink("/proc/self/exe").string());
  return words;
}

ExitStatus run_sweep(const SweepConfig& config, SweepState& state, SweepPart part) {
  return SweepRun(config, state, part).run();
}

}  // namespace spt
