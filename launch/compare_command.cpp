#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "launch/commands.h"
#include "launch/compare_print.h"
#include "launch/one_rank.h"
#include "launch/options.h"
#include "launch/printable_errors.h"
#include "trainer/eval/comparison.h"

namespace spt {
namespace {

struct CompareArguments {
  std::vector<std::filesystem::path> folders, baseline;
  CompareOptions compare;
  bool json = false, tsv = false, latex = false;
};

// The two sides from the folders as they were given.
void set_sides(CompareArguments& options) {
  const size_t given = options.folders.size();
  if (options.baseline.empty()) {
    if (given != 2)
      throw BadInput(
          fmt::format("{} folders and no --baseline: give two, or the seeds of one side and then those of the "
                      "other: spt compare A1 A2 A3 --baseline B1 B2 B3",
                      given));
    options.compare.a = {options.folders[0]};
    options.compare.b = {options.folders[1]};
    return;
  }
  if (given != options.baseline.size())
    throw BadInput(
        fmt::format("{} folders, and {} after --baseline: seeds are paired in their order, so both sides need "
                    "as many",
                    given, options.baseline.size()));
  options.compare.a = options.folders;
  options.compare.b = options.baseline;
}

int run(CompareArguments& options) {
  set_sides(options);
  const Comparison comparison = with_printable_errors([&] {
    Comparison found = compare(options.compare);
    for (std::string& note : notes_of_sides(options.compare)) found.notes.push_back(std::move(note));
    return found;
  });
  std::string text;
  if (options.json)
    text = comparison_json(options.compare, comparison);
  else if (options.tsv)
    text = comparison_tsv(comparison);
  else if (options.latex)
    text = comparison_latex(comparison);
  else
    text = comparison_text(options.compare, comparison);
  fmt::print("{}", text);
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace

void add_compare(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("compare", "compares evaluations of two models, or of several seeds of both");
  auto options = std::make_shared<CompareArguments>();
  Resampling& resampling = options->compare.resampling;
  command->add_option("FOLDER", options->folders, "evaluation folders (spt eval's run.dir): A and B, or all seeds of A")
      ->required();
  command->add_option("--baseline", options->baseline, "the seeds of B, in the order of A's");
  command->add_option("--tasks", options->compare.tasks, "these tasks only, divided by commas")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--resamples", resampling.count, "of the bootstrap")
      ->capture_default_str()
      ->check(CLI::Range(100, 1'000'000));
  command->add_option("--seed", resampling.seed, "of the bootstrap")->capture_default_str()->check(seed_range());
  auto* json = command->add_flag("--json", options->json, "as JSON, with all digits");
  auto* tsv = command->add_flag("--tsv", options->tsv, "the table with tabs, with all digits");
  command->add_flag("--latex", options->latex, "the table as a LaTeX tabular")->excludes(json)->excludes(tsv);
  tsv->excludes(json);
  command->footer(
      "Differences are A - B. 95% intervals and p are those of a paired bootstrap over items, or over groups where "
      "the\n"
      "samples have any (MMLU's subjects); Holm p is corrected for the number of tasks; McNemar p is exact, where all\n"
      "scores are 0 or 1. A perplexity is compared by its logarithm, the loss: lower is better. From three seeds on "
      "there\n"
      "is a t-interval over seeds too.\n"
      "Examples:\n"
      "  spt compare runs/role/eval runs/plain/eval\n"
      "  spt compare runs/role-{1,2,3}/eval --baseline runs/plain-{1,2,3}/eval --tasks gsm8k,mmlu --latex");
  command->callback([options, &action] {
    action = [options](int argc, char** argv) {
      return run_on_one_rank(argc, argv, "it only reads a few files", [&] { return run(*options); });
    };
  });
}

}  // namespace spt
