#include <memory>

#include "base/stop.h"
#include "data/config_file.h"
#include "dist/runtime.h"
#include "launch/commands.h"
#include "launch/options.h"
#include "launch/printable_errors.h"
#include "trainer/eval_inputs.h"
#include "trainer/evaluation.h"

namespace spt {
namespace {

struct EvalArguments {
  std::string config;
  std::vector<std::string> overrides;
  int64_t show = 0;
};

int run(const EvalArguments& options, int argc, char** argv) {
  if (options.show < 0) throw BadInput(fmt::format("--show is {}, must be at least 1", options.show));
  install_stop_handlers();  // from here on a signal asks for a stop
  return run_distributed(argc, argv, [&](Runtime& runtime) {
    return with_printable_errors([&] {
      const auto config = read_fields<EvalConfig>(load_config_values(options.config, options.overrides));
      if (options.show == 0) return evaluate(config, runtime);
      if (runtime.rank() == 0) fmt::print("{}", show_prompts(load_eval_inputs(config), options.show));
      return ExitStatus::kDone;
    });
  });
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  const auto options = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand("eval", "measures a model on benchmarks, held-out loss and open questions");
  command->add_option("CONFIG", options->config, "YAML file")->required();
  command->add_option("key=value", options->overrides, "values that take the place of the file's");
  command->add_option("--show", options->show,
                      "prints the first N prompts of each task as the model reads them, and stops");
  command->footer([] {
    return keys_help<EvalConfig>() +
           "Example: mpirun -np 2 spt eval configs/eval_tiny.yaml model.path=runs/tiny/checkpoints/step-000040/hf "
           "run.dir=runs/tiny/eval";
  });
  command->callback(
      [options, &action] { action = [options](int argc, char** argv) { return run(*options, argc, argv); }; });
}

}  // namespace spt
