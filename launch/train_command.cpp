#include <memory>

#include <fmt/format.h>

#include "base/stop.h"
#include "dist/runtime.h"
#include "launch/commands.h"
#include "launch/options.h"
#include "trainer/run_config.h"
#include "trainer/trainer.h"

namespace spt {
namespace {

struct TrainArguments {
  std::string config;
  std::vector<std::string> overrides;
  bool check = false;
};

int run(const TrainArguments& options, int argc, char** argv) {
  install_stop_handlers();  // from here on a signal asks for a stop
  return run_distributed(argc, argv, [&](Runtime& runtime) {
    RunConfig config = load_run_config(options.config, options.overrides);
    if (!options.check) return Trainer(std::move(config), runtime, {argv, argv + argc}).run();
    const std::string summary = check_run(config, runtime);
    if (runtime.rank() == 0) fmt::print("{}\nnothing is wrong; nothing was started\n", summary);
    return ExitStatus::kDone;
  });
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  const auto options = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand("train", "full-parameter fine-tuning, on any number of ranks");
  command->add_option("CONFIG", options->config, "YAML file")->required();
  command->add_option("key=value", options->overrides, "values that take the place of the file's");
  command->add_flag("--check", options->check, "validate everything and stop");
  command->footer([] {
    return keys_help<RunConfig>() +
           "Example: ./launch/local.sh 4 build/spt train configs/tiny_cpu.yaml mesh.tp=2 run.dir=runs/first";
  });
  command->callback(
      [options, &action] { action = [options](int argc, char** argv) { return run(*options, argc, argv); }; });
}

}  // namespace spt
