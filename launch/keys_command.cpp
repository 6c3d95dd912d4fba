#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/fields.h"
#include "data/annotator.h"
#include "data/chat_template.h"
#include "launch/chat_model.h"
#include "launch/commands.h"
#include "trainer/eval/judge.h"
#include "trainer/eval/task.h"
#include "trainer/eval_config.h"
#include "trainer/machine.h"
#include "trainer/run_config.h"
#include "trainer/sweep_config.h"

namespace spt {
namespace {

std::string in_cell(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

std::string as_code(const std::string& text) {
  return text.empty() || text == "\"\"" ? "" : "`" + in_cell(text) + "`";
}

std::string keys_of(const char* title, const char* about, const std::vector<FieldLister::Line>& lines) {
  std::string text =
      fmt::format("\n## {}\n\n{}\n\n| key | type | default | unit | meaning |\n|---|---|---|---|---|\n", title, about);
  for (const auto& line : lines)
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", line.key, in_cell(line.type), as_code(line.value),
                        unit_of(line.key), in_cell(line.help));
  return text;
}

std::string all_keys() {
  return "# Configuration\n"
         "\n"
         "Every key of every YAML file, written by the program from what it reads: `spt keys > docs/configuration.md`. "
         "Dots\n"
         "stand for sections: `optimizer.lr` is `lr` in `optimizer:`. On a command line a value is "
         "`optimizer.lr=2e-5`,\n"
         "after the file, and takes the place of the file's; a list is `'optimizer.betas=[0.9, 0.99]'`, none is "
         "`null`.\n"
         "A key that nobody reads is an error. NAME and KEY stand for names that are yours. An empty default is an "
         "empty\n"
         "text or list, or a value that has to be given; a meaning says in brackets what is taken without one.\n" +
         keys_of("Training",
                 "`spt train` and `spt plan`; examples are `configs/tiny_cpu.yaml` and `configs/llama2_7b_spt.yaml`.",
                 list_fields<RunConfig>()) +
         keys_of("Evaluation", "`spt eval`; an example is `configs/eval_spt.yaml`.", list_fields<EvalConfig>()) +
         keys_of("Generation",
                 "What `spt generate`, `annotate --checkpoint` and `judge --checkpoint` take as `key=value`.",
                 list_fields<ChatModelConfig>()) +
         keys_of("Sweep", "`spt sweep`; an example is `configs/sweeps/spt_study.yaml`.", list_fields<SweepConfig>()) +
         keys_of("Task", "A benchmark, `configs/tasks/NAME.yaml` or your own, for `eval.tasks`.", list_fields<Task>()) +
         keys_of("Template",
                 "How a conversation becomes tokens, `configs/templates/NAME.yaml` or your own, for `--template`.",
                 template_fields()) +
         keys_of("Annotator", "How `spt annotate` asks for roles, `configs/annotators/NAME.yaml` or your own.",
                 list_fields<AnnotatorConfig>()) +
         keys_of("Judge", "How `spt judge` asks, `configs/judges/NAME.yaml` or your own.", list_fields<JudgeConfig>()) +
         keys_of("Machine", "What `spt plan --gpu` reckons with, `configs/machines/NAME.yaml` or your own.",
                 list_fields<Machine>());
}

}  // namespace

void add_keys(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("keys", "every key of the YAML files: type, default, unit, meaning");
  command->footer("As Markdown: it is docs/configuration.md.\nExample: spt keys | grep micro_batch");
  command->callback([&action] {
    action = [](int, char**) {
      fmt::print("{}", all_keys());
      return static_cast<int>(ExitStatus::kDone);
    };
  });
}

}  // namespace spt
