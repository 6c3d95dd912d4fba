#include <filesystem>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "base/stop.h"
#include "data/dataset.h"
#include "dist/runtime.h"
#include "launch/commands.h"
#include "trainer/manifest.h"
#include "trainer/metrics.h"
#include "trainer/run_config.h"
#include "trainer/trainer.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct RerunArguments {
  fs::path run, out;
  std::vector<std::string> overrides;
};

class Rerun {
 public:
  Rerun(const RerunArguments& options, Runtime& runtime, std::vector<std::string> command_line)
      : run_(without_slash(options.run)),
        out_(options.out.empty() ? fs::path(run_.string() + "-rerun") : without_slash(options.out)),
        runtime_(runtime),
        command_line_(std::move(command_line)),
        manifest_(load_manifest(run_)),
        there_(config_there({})),
        config_(config_there(options.overrides)) {
    config_.run.dir = out_;
  }

  ExitStatus run() {
    require_same_ranks();
    if (runtime_.rank() == 0) check_folders();
    check_inputs();
    const ExitStatus ended = Trainer(config_, runtime_, command_line_).run();
    return ended == ExitStatus::kDone && runtime_.rank() == 0 ? compare() : ended;
  }

 private:
  static fs::path without_slash(const fs::path& path) { return path.has_filename() ? path : path.parent_path(); }

  RunConfig config_there(const std::vector<std::string>& overrides) const {
    return run_config_of(manifest_["config"].get<std::map<std::string, std::string>>(),
                         (run_ / "manifest.json").string(), overrides);
  }

  // Other ranks sum in another order, so their bits would be others.
  void require_same_ranks() const {
    uint64_t ranks = 0;
    std::set<uint64_t> of_hosts;
    for (const json& host : manifest_["ranks"]) {
      ranks += host["count"].get<uint64_t>();
      of_hosts.insert(host["count"].get<uint64_t>());
    }
    if (ranks == static_cast<uint64_t>(runtime_.size())) return;
    const size_t hosts = manifest_["ranks"].size();
    const std::string mapping =
        hosts > 1 && of_hosts.size() == 1 ? fmt::format(" --map-by ppr:{}:node", *of_hosts.begin()) : "";
    const std::string launcher = ranks > 1 ? fmt::format("mpirun -np {}{} ", ranks, mapping) : "";
    throw BadInput(
        fmt::format("{} ran on {} rank(s) of {} host(s), and this is {} rank(s); start it as\n"
                    "  OMP_NUM_THREADS={} {}{}",
                    run_.string(), ranks, hosts, runtime_.size(), manifest_["ranks"][0]["threads"].get<uint64_t>(),
                    launcher, fmt::join(command_line_, " ")));
  }

  // Rows of an earlier program must not pass for this one's. One that was stopped is gone on with.
  void check_folders() {
    std::error_code error;
    rows_ = read_metrics(run_ / "metrics.jsonl");
    if (rows_.empty()) throw BadInput(fmt::format("{} made no step, so nothing can be compared", run_.string()));
    if (fs::equivalent(run_, out_, error))
      throw BadInput(fmt::format("--out {} is the run itself; choose another folder", out_.string()));
    if (!fs::exists(out_ / "metrics.jsonl", error)) return;
    const std::vector<MetricsRow> rows = read_metrics(out_ / "metrics.jsonl");
    const auto steps = load_manifest(out_)["steps"].get<int64_t>();
    if (!rows.empty() && rows.back().step >= steps)
      throw BadInput(
          fmt::format("{} holds a finished run; remove it, or choose another folder by --out", out_.string()));
  }

  // Collective. Says what is not as it was; throws BadInput where an input is not.
  void check_inputs() const {
    ManifestFacts facts;
    if (runtime_.rank() == 0) {
      facts.corpus_sha256 = Dataset(config_.data.train).info().content_sha256;
      if (config_.data.valid) facts.valid_sha256 = Dataset(*config_.data.valid).info().content_sha256;
      if (config_.model.init == Init::kPretrained) facts.weights_sha256 = weights_sha256(config_.model.path);
      facts.model_config_sha256 = model_config_sha256(config_.model.path);
    }
    const json here = make_manifest(runtime_, config_, facts);
    if (runtime_.rank() != 0) return;
    const ManifestDifferences found = manifest_differences(manifest_, here);
    std::error_code error;
    std::vector<std::string> edited;
    if (const fs::path file = run_ / "config.yaml"; fs::exists(file, error))
      edited = differing_values(there_, load_run_config(file, {}));
    for (const std::string& line : edited) spdlog::warn("config.yaml is not what ran: {}", line);
    for (const std::string& line : differing_values(there_, config_)) spdlog::warn("configuration: {}", line);
    for (const std::string& line : found.machine) spdlog::warn("not as it was: {}", line);
    if (!found.inputs.empty())
      throw BadInput(fmt::format("{} ran on other inputs, so this would be another run:\n  {}", run_.string(),
                                 fmt::join(found.inputs, "\n  ")));
    if (edited.empty() && found.machine.empty()) spdlog::info("program, machine and inputs are as they were");
  }

  ExitStatus compare() const {
    const std::vector<MetricsRow> here = read_metrics(out_ / "metrics.jsonl");
    const std::string difference = first_difference(rows_, here);
    if (!difference.empty()) {
      fmt::print("metrics differ ({} there, {} here): {}\n", run_.string(), out_.string(), difference);
      return ExitStatus::kBadInput;
    }
    if (rows_.size() < here.size()) spdlog::warn("{} ends at step {} of {}", run_.string(), rows_.size(), here.size());
    fmt::print("metrics equal to the bit for {} steps\n", rows_.size());
    return ExitStatus::kDone;
  }

  const fs::path run_, out_;
  Runtime& runtime_;
  const std::vector<std::string> command_line_;
  const json manifest_;
  const RunConfig there_;
  RunConfig config_;
  std::vector<MetricsRow> rows_;  // of the run, on rank 0
};

}  // namespace

void add_rerun(CLI::App& app, Action& action) {
  const auto options = std::make_shared<RerunArguments>();
  CLI::App* command = app.add_subcommand("rerun", "a training once more from its manifest.json; compares the metrics");
  command->add_option("RUN", options->run, "run folder of spt train")->required();
  command->add_option("--out", options->out, "folder of the new run [RUN-rerun]");
  command->add_option("key=value", options->overrides, "values that take the place of the run's, e.g. where data lies");
  command->footer(
      "On as many ranks as it had. Exit status 0 where loss, grad_norm, lr and trained_tokens of each step are equal "
      "to\n"
      "the bit, 1 with the first that is not.\n"
      "Example: ./launch/local.sh 4 build/spt rerun runs/first");
  command->callback([options, &action] {
    action = [options](int argc, char** argv) {
      install_stop_handlers();
      return run_distributed(argc, argv, [&](Runtime& runtime) {
        return Rerun(*options, runtime, {argv, argv + argc}).run();
      });
    };
  });
}

}  // namespace spt
