#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/host_checks.h"
#include "dist/job_checks.h"
#include "dist/text.h"
#include "launch/commands.h"
#include "launch/table.h"
#include "trainer/eval/sandbox.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct DoctorArguments {
  fs::path dir = ".";
  int64_t megabytes = 256;
};

constexpr size_t kHostsNamed = 3;
constexpr std::chrono::seconds kSeenWithin{5};  // what a network file system takes to show a new file elsewhere

Finding check_sandbox() {
  constexpr const char* kAbout = "sandbox";
  try {
    require_sandbox();
    return {Severity::kGood, kAbout, "code that models write (tasks of kind code) runs apart"};
  } catch (const std::exception& error) {
    return {Severity::kWarning, kAbout, error.what()};
  }
}

bool appears(const fs::path& file) {
  const auto begin = std::chrono::steady_clock::now();
  std::error_code error;
  while (!fs::exists(file, error)) {
    if (std::chrono::steady_clock::now() - begin > kSeenWithin) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

class Doctor {
 public:
  Doctor(const DoctorArguments& options, Runtime& runtime) : options_(options), runtime_(runtime) {
    const std::vector<std::string>& hosts = runtime.hosts();
    const std::string& mine = hosts[static_cast<size_t>(runtime.rank())];
    ranks_here_ = static_cast<int>(std::count(hosts.begin(), hosts.end(), mine));
    first_here_ = std::find(hosts.begin(), hosts.end(), mine) - hosts.begin() == runtime.rank();
    for (const std::string& host : hosts)
      if (std::find(hosts_.begin(), hosts_.end(), host) == hosts_.end()) hosts_.push_back(host);
  }

  ExitStatus run() {
    found_ = check_job(runtime_);
    gather(check_gpus(runtime_, ranks_here_));
    gather(first_here_ ? check_limits(ranks_here_, runtime_.size(), runtime_.device().is_cuda())
                       : std::vector<Finding>());
    gather(first_here_ ? check_folder(options_.dir, options_.megabytes) : std::vector<Finding>());
    if (hosts_.size() > 1) gather({check_shared()});
    gather(first_here_ ? std::vector{check_sandbox()} : std::vector<Finding>());
    return runtime_.rank() == 0 ? print() : ExitStatus::kDone;
  }

 private:
  // What hosts found, each by its first rank; alike findings are one line.
  struct Line {
    Finding finding;
    std::vector<std::string> hosts;
  };

  // Collective.
  void gather(const std::vector<Finding>& of_this_host) {
    json mine = json::array();
    for (const Finding& finding : of_this_host)
      mine.push_back({static_cast<int>(finding.severity), finding.about, finding.text});
    const std::vector<std::string> all = all_gather_text(
        runtime_.host_world(), first_here_ ? mine.dump(-1, ' ', false, json::error_handler_t::replace) : "");
    std::vector<Line> lines;
    for (size_t rank = 0; rank < all.size(); ++rank) {
      if (all[rank].empty()) continue;
      for (const json& found : json::parse(all[rank])) {
        const auto same = std::find_if(lines.begin(), lines.end(), [&](const Line& line) {
          return line.finding.about == found[1] && line.finding.text == found[2];
        });
        if (same != lines.end())
          same->hosts.push_back(runtime_.hosts()[rank]);
        else
          lines.push_back({{static_cast<Severity>(found[0].get<int>()), found[1], found[2]}, {runtime_.hosts()[rank]}});
      }
    }
    std::stable_sort(lines.begin(), lines.end(),
                     [](const Line& a, const Line& b) { return a.finding.about < b.finding.about; });
    for (Line& line : lines) {
      if (line.hosts.size() < hosts_.size()) line.finding.text = named(line.hosts) + ": " + line.finding.text;
      found_.push_back(line.finding);
    }
  }

  static std::string named(const std::vector<std::string>& hosts) {
    if (hosts.size() <= kHostsNamed) return fmt::format("{}", fmt::join(hosts, ", "));
    return fmt::format("{} and {} more", fmt::join(hosts.begin(), hosts.begin() + kHostsNamed, ", "),
                       hosts.size() - kHostsNamed);
  }

  // Collective: whether a folder that rank 0 makes in it is there for this rank too.
  Finding check_shared() {
    constexpr const char* kAbout = "folder shared";
    std::string probe;
    if (runtime_.rank() == 0) {
      probe = (options_.dir / ".spt-doctor-XXXXXX").string();
      if (mkdtemp(probe.data()) == nullptr) probe.clear();
    }
    const std::string name = broadcast_text(runtime_.host_world(), probe);
    const bool seen = !name.empty() && appears(name);
    runtime_.host_world().barrier();
    std::error_code error;
    if (runtime_.rank() == 0 && !probe.empty()) fs::remove(probe, error);
    if (seen) return {Severity::kGood, kAbout, "what one host writes, the others see"};
    return {Severity::kFault, kAbout,
            fmt::format("does not see what {} makes in {}: run.dir has to lie on a file system that all hosts share "
                        "(--dir tries one)",
                        runtime_.hosts()[0], options_.dir.string())};
  }

  ExitStatus print() const {
    static constexpr const char* kWords[] = {"ok", "warning", "FAULT"};
    size_t counts[] = {0, 0, 0};
    for (const Finding& finding : found_) {
      const auto severity = static_cast<size_t>(finding.severity);
      ++counts[severity];
      fmt::print("{:<8} {:<15} {}\n", kWords[severity], finding.about, on_one_line(finding.text));
    }
    const auto warnings = counts[static_cast<size_t>(Severity::kWarning)];
    const auto faults = counts[static_cast<size_t>(Severity::kFault)];
    fmt::print("{}; {} warning(s)\n", faults == 0 ? "nothing here will fail" : fmt::format("{} FAULT(s)", faults),
               warnings);
    return faults == 0 ? ExitStatus::kDone : ExitStatus::kBadInput;
  }

  const DoctorArguments& options_;
  Runtime& runtime_;
  std::vector<std::string> hosts_;  // each once
  int ranks_here_ = 0;
  bool first_here_ = false;
  std::vector<Finding> found_;
};

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  const auto options = std::make_shared<DoctorArguments>();
  CLI::App* command = app.add_subcommand("doctor", "what this machine offers, what is wrong and what to do");
  command->add_option("--dir", options->dir, "the folder to try, where runs are to be written")->capture_default_str();
  command->add_option("--megabytes", options->megabytes, "that are written there and read back, for 5 s at most each")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->footer(
      "Start it as a training would be, on all its ranks. Exit status 1 where something will fail.\n"
      "Example: mpirun -np 4 spt doctor --dir /scratch/runs");
  command->callback([options, &action] {
    action = [options](int argc, char** argv) {
      return run_distributed(argc, argv, [&](Runtime& runtime) { return Doctor(*options, runtime).run(); });
    };
  });
}

}  // namespace spt
