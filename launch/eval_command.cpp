#include <memory>

#include "data/config_file.h"
#include "dist/runtime.h"
#include "launch/commands.h"
#include "launch/options.h"
#include "trainer/evaluation.h"

namespace spt {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> overrides;
};

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("eval", "measures a model on tasks (kind: perplexity)");
  command->add_option("CONFIG", options->config, "YAML file")->required();
  command->add_option("key=value", options->overrides, "values that take the place of the file's");
  command->footer([] {
    return keys_help<EvalConfig>() +
           "Example: mpirun -np 2 spt eval configs/eval_tiny.yaml model.path=runs/tiny/checkpoints/step-000040/hf "
           "run.dir=runs/tiny/eval";
  });
  command->callback([options, &action] {
    action = [options](int argc, char** argv) {
      return run_distributed(argc, argv, [&](Runtime& runtime) {
        evaluate(read_fields<EvalConfig>(load_config_values(options->config, options->overrides)), runtime);
        return ExitStatus::kDone;
      });
    };
  });
}

}  // namespace spt
