// The program: one subcommand a file. Bad input is exit status 1, a failure 2 (base/error.h); distributed commands map
// their own (dist/runtime.h).
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/allocator.h"
#include "base/error.h"
#include "base/log.h"
#include "dist/runtime.h"
#include "launch/commands.h"
#include "trainer/manifest.h"

namespace {

std::string version_text() {
  const nlohmann::json info = spt::build_info();
  std::string text =
      fmt::format("spt {} ({})\n", info["version"].get<std::string>(), info["git_commit"].get<std::string>());
  for (const auto& [name, version] : info["libraries"].items())
    text += fmt::format("{} {}\n", name, version.get<std::string>());
  return text + fmt::format("backends: {}", fmt::join(info["backends"].get<std::vector<std::string>>(), ", "));
}

// A missing option or command is often a misspelt one, which CLI11 would not name.
std::string usage_message(const CLI::App* app, const CLI::Error& error) {
  std::string text = CLI::FailureMessage::simple(app, error);
  const std::vector<std::string> unknown = app->remaining(true);
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError) && !unknown.empty())
    text = fmt::format("not known here: {}\n{}", fmt::join(unknown, " "), text);
  return text;
}

int run(int argc, char** argv) {
  spt::keep_freed_memory();
  CLI::App app("Self-Prompt Tuning: fine-tune a language model to write its own expert role prompt before it answers.");
  app.set_version_flag("--version", version_text);
  app.require_subcommand(1);
  app.fallthrough(false);
  app.failure_message(usage_message);
  spt::Action action;
  spt::add_prepare(app, action);
  spt::add_annotate(app, action);
  spt::add_inspect(app, action);
  spt::add_train(app, action);
  spt::add_plan(app, action);
  spt::add_generate(app, action);
  spt::add_eval(app, action);
  spt::add_judge(app, action);
  spt::add_compare(app, action);
  spt::add_report(app, action);
  spt::add_sweep(app, action);
  spt::add_rerun(app, action);
  spt::add_doctor(app, action);
  spt::add_keys(app, action);
  spt::add_completion(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Ranks of one job find the same mistake in the command line; run_distributed makes one of them tell it.
    if (error.get_exit_code() != 0 && spt::started_by_launcher())
      return spt::run_distributed(
          argc, argv, [&](spt::Runtime&) -> spt::ExitStatus { throw spt::BadInput(usage_message(&app, error)); });
    return app.exit(error) == 0 ? 0 : static_cast<int>(spt::ExitStatus::kBadInput);
  }
  return action(argc, argv);
}

// What a full disk or a closed pipe swallowed must not look like success.
int with_output_written(int status) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  spdlog::error("standard output could not be written: {}", std::strerror(errno));
  return std::max(status, static_cast<int>(spt::ExitStatus::kFailure));
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is then an error of write, with a message
  spt::setup_log(0, 1);
  try {
    return with_output_written(run(argc, argv));
  } catch (const spt::BadInput& error) {
    spdlog::error("{}", error.what());
    return static_cast<int>(spt::ExitStatus::kBadInput);
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    return static_cast<int>(spt::ExitStatus::kFailure);
  }
}
