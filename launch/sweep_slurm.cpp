#include "launch/sweep_slurm.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/child_process.h"
#include "base/error.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

// sbatch --parsable: "17", or "17;cluster", behind its warnings.
std::string submitted_id(const std::string& output) {
  const std::string text = output.substr(0, output.find_last_not_of(" \n") + 1);
  const std::string line = text.substr(text.rfind('\n') + 1);
  const std::string id = line.substr(0, line.find(';'));
  return id.find_first_not_of("0123456789") == std::string::npos ? id : "";
}

class Submission {
 public:
  Submission(const SweepConfig& config, const fs::path& file, const Words& overrides)
      : name_((config.dir / ".").lexically_normal().parent_path().filename().string()),
        folder_(config.dir / "slurm"),
        arguments_{config.slurm.script.string(), file.string()} {
    arguments_.insert(arguments_.end(), overrides.begin(), overrides.end());
    fs::create_directories(folder_);
  }

  // The id of the job. `log` is its output's name, as sbatch's --output has it.
  std::string submit(const std::string& name, const std::string& log, const Words& options, const Words& part) {
    Words words{"sbatch", "--parsable", fmt::format("--job-name={}-{}", name_, name),
                "--output=" + (folder_ / log).string()};
    for (const Words* more : {&options, &std::as_const(arguments_), &part})
      words.insert(words.end(), more->begin(), more->end());
    constexpr std::chrono::seconds kLimit{300};
    constexpr size_t kMostOutput = 1 << 16;
    const ChildResult result = run_child(words, "", true, kLimit, kMostOutput);
    std::string id = result.in_time && result.status == 0 ? submitted_id(result.output) : "";
    if (id.empty())
      throw BadInput(fmt::format("{}the job of the sweep's {} was not submitted: {}\n{}", so_far(), name,
                                 fmt::join(words, " "), result.in_time ? result.output : "sbatch does not answer"));
    ids_.push_back(id);
    return id;
  }

 private:
  std::string so_far() const {
    return ids_.empty() ? "" : fmt::format("job {} was submitted (scancel it), but ", fmt::join(ids_, ", "));
  }

  std::string name_;
  fs::path folder_;
  Words arguments_;
  Words ids_;
};

}  // namespace

std::string submit_sweep(const SweepConfig& config, const SweepState& state, const fs::path& file,
                         const std::vector<std::string>& overrides) {
  std::string text;
  Submission jobs(config, file, overrides);
  std::string behind;
  if (std::any_of(state.prepare.begin(), state.prepare.end(), [](const StepState& line) { return !line.is_done(); })) {
    const std::string id = jobs.submit("prepare", "prepare-%j.txt", {}, {"--prepare"});
    text += fmt::format("job {}: prepare\n", id);
    behind = "afterok:" + id;
  }
  Words indices;
  for (size_t i = 0; i < state.points.size(); ++i)
    if (!state.points[i].is_done()) indices.push_back(std::to_string(i));
  if (!indices.empty()) {
    const std::string most = config.parallel ? fmt::format("%{}", *config.parallel) : "";
    Words options{fmt::format("--array={}{}", fmt::join(indices, ","), most), fmt::format("--ntasks={}", config.ranks),
                  fmt::format("--cpus-per-task={}", config.threads)};
    if (!behind.empty()) options.insert(options.end(), {"--dependency=" + behind, "--kill-on-invalid-dep=yes"});
    options.insert(options.end(), config.slurm.options.begin(), config.slurm.options.end());
    const std::string id = jobs.submit("point", "point-%A_%a.txt", options, {});
    text += fmt::format("job {}: {} of {} points, an array\n", id, indices.size(), state.points.size());
    behind = "afterany:" + id;
  }
  Words options;
  if (!behind.empty()) options.push_back("--dependency=" + behind);
  const std::string id = jobs.submit("finish", "finish-%j.txt", options, {"--finish"});
  return text + fmt::format("job {}: the comparisons and what comes after\n", id);
}

}  // namespace spt
