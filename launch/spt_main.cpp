// The program: one subcommand a file. Bad input is exit status 1, a failure 2 (base/error.h); distributed commands map their
// own (dist/runtime.h).
#include <cstdio>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/allocator.h"
#include "base/error.h"
#include "base/log.h"
#include "launch/commands.h"
#include "trainer/manifest.h"

namespace {

std::string version_text() {
  const nlohmann::json info = spt::build_info();
  std::string text = fmt::format("spt {} ({})\n", info["version"].get<std::string>(), info["git_commit"].get<std::string>());
  for (const auto& [name, version] : info["libraries"].items()) text += fmt::format("{} {}\n", name, version.get<std::string>());
  return text + fmt::format("backends: {}", fmt::join(info["backends"].get<std::vector<std::string>>(), ", "));
}

}  // namespace

int main(int argc, char** argv) {
  spt::keep_freed_memory();
  CLI::App app("Self-Prompt Tuning: fine-tune a language model to write its own expert role prompt before it answers.");
  app.set_version_flag("--version", version_text);
  app.require_subcommand(1);
  app.fallthrough(false);
  spt::Action action;
  spt::add_prepare(app, action);
  spt::add_inspect(app, action);
  spt::add_train(app, action);
  spt::add_generate(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(spt::ExitStatus::kBadInput);
  }
  spt::setup_log(0, 1);
  try {
    return action(argc, argv);
  } catch (const spt::BadInput& error) {
    spdlog::error("{}", error.what());
    return static_cast<int>(spt::ExitStatus::kBadInput);
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    return static_cast<int>(spt::ExitStatus::kFailure);
  }
}
