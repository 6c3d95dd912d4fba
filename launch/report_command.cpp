#include <chrono>
#include <map>
#include <memory>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "data/printable.h"
#include "launch/commands.h"
#include "launch/one_rank.h"
#include "launch/options.h"
#include "launch/printable_errors.h"
#include "launch/report_assets.h"
#include "launch/report_folder.h"
#include "launch/report_page.h"
#include "trainer/report.h"

namespace spt {
namespace {

struct ReportArguments {
  ReportOptions report;
  std::filesystem::path out;
  std::optional<int64_t> samples;
  bool force = false;
};

int run(const ReportArguments& options) {
  check_report_folder(options.out, options.force);
  PageOptions page;
  page.plotly = read_plotly();  // before the minutes that a large evaluation takes
  page.samples = options.samples;
  page.made = fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::chrono::system_clock::now()));
  const Report report = with_printable_errors([&] { return collect_report(options.report); });
  const std::vector<ReportTable> tables = report_tables(report);
  std::map<std::string, std::string> files;
  for (const ReportTable& table : tables) {
    files["tables/" + table.name + ".tsv"] = tab_separated_table(table.table);
    files["tables/" + table.name + ".json"] = json_table(table.table);
    files["tables/" + table.name + ".tex"] = latex_table(table.table);
  }
  const std::string& html = files["index.html"] = report_page(report, tables, page);
  constexpr double kMegabyte = 1e6;
  const double size = static_cast<double>(html.size()) / kMegabyte;
  constexpr double kHeavy = 150;
  if (size > kHeavy) spdlog::warn("the page has {:.0f} MB; --samples N shows fewer of each task's samples", size);
  write_report_folder(options.out, files);
  for (const std::string& warning : report.warnings) spdlog::warn("{}", printable(warning));
  fmt::print("{} ({:.1f} MB), {} tables in {}\n", printable((options.out / "index.html").string()), size, tables.size(),
             printable((options.out / "tables").string()));
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("report", "one HTML page of runs and their evaluations, which works offline");
  auto options = std::make_shared<ReportArguments>();
  ReportOptions& report = options->report;
  command
      ->add_option("RUN", report.runs,
                   "run folders (spt train's run.dir) with evaluations in them, or evaluation folders")
      ->required();
  command->add_option("--baseline", report.baseline, "the seeds of B, in the order of A's");
  command->add_option("--out", options->out, "folder to write: index.html and tables/")->required();
  command->add_option("--tasks", report.tasks, "these tasks only, divided by commas")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--samples", options->samples, "samples of each task on the page at most [all]")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--resamples", report.resampling.count, "of the bootstrap")
      ->capture_default_str()
      ->check(CLI::Range(100, 1'000'000));
  command->add_option("--seed", report.resampling.seed, "of the bootstrap")->capture_default_str()->check(seed_range());
  command->add_flag("--force", options->force, "write into a folder that holds something else");
  command->footer(
      "Two runs are compared as A and B, more than two each with the last, with --baseline pair by pair as seeds of "
      "two\n"
      "sides; the numbers are those of spt compare. Every folder RUN/NAME with results.json is an evaluation of RUN.\n"
      "Each table lies in OUT/tables as .tsv, .json and .tex. An earlier report in OUT is replaced.\n"
      "Examples:\n"
      "  spt report runs/role runs/plain --out report\n"
      "  spt report runs/role-{1,2,3} --baseline runs/plain-{1,2,3} --out report --samples 500");
  command->callback([options, &action] {
    action = [options](int argc, char** argv) {
      return run_on_one_rank(argc, argv, "it only reads files and writes one page", [&] { return run(*options); });
    };
  });
}

}  // namespace spt
