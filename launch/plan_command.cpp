#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/durable.h"
#include "base/fields.h"
#include "launch/commands.h"
#include "launch/one_rank.h"
#include "launch/options.h"
#include "launch/printable_errors.h"
#include "launch/table.h"
#include "trainer/plan.h"

namespace spt {
namespace {

struct PlanArguments {
  std::string config, gpu, save_machine;
  std::vector<std::string> overrides;
  int ranks = 1;
  std::optional<int64_t> examples, example_tokens;
  bool json = false;
};

double gigabytes(int64_t bytes) {
  return static_cast<double>(bytes) / 1e9;
}

std::string seconds_text(double seconds) {
  return fmt::format("{:.4f}", seconds);
}

// "40 s", "1.5 hours", "12.0 days"
std::string duration(double seconds) {
  if (seconds < 120) return fmt::format("{:.1f} s", seconds);
  if (seconds < 2 * 3600) return fmt::format("{:.0f} minutes", seconds / 60);
  return seconds < 48 * 3600 ? fmt::format("{:.1f} hours", seconds / 3600)
                             : fmt::format("{:.1f} days", seconds / (24 * 3600));
}

std::string plan_json(const Plan& plan, const Machine& machine, const Planner& planner,
                      const std::vector<Proposal>& proposals) {
  nlohmann::ordered_json out{
      {"machine", printable(machine.name)}, {"dp", plan.dp}, {"tp", plan.tp}, {"parameters", plan.parameters}};
  for (const auto& [name, bytes] : plan.memory.parts) out["memory_bytes"][name] = bytes;
  out["memory_on_host_bytes"] = plan.memory.on_host;
  out["memory_total_bytes"] = plan.memory.total();
  out["memory_of_device_bytes"] = planner.memory_bytes();
  if (const auto host = planner.host_memory_bytes()) out["memory_of_host_bytes"] = *host;
  out["fits"] = plan.fits;
  for (const auto& [name, seconds] : plan.step.seconds) out["step_seconds"][name] = seconds;
  out["step_total_seconds"] = plan.step.total();
  out["tokens_a_step"] = plan.step.tokens;
  out["flops_a_step"] = plan.step.flops;
  out["steps"] = plan.steps;
  out["steps_dealt"] = plan.dealt_steps;
  out["longest_micro_batch"] = {{"tokens", plan.memory.pass.tokens}, {"trained_tokens", plan.memory.pass.trained}};
  out["checkpoint_bytes"] = {{"weights", plan.weights_bytes}, {"optimizer", plan.optimizer_bytes}};
  out["proposals"] = nlohmann::ordered_json::array();
  for (const Proposal& p : proposals)
    out["proposals"].push_back({{"overrides", p.overrides},
                                {"memory_total_bytes", p.bytes},
                                {"memory_on_host_bytes", p.on_host},
                                {"step_total_seconds", p.seconds}});
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string proposals_text(const Plan& plan, const std::vector<Proposal>& proposals) {
  if (plan.fits && proposals.empty()) return "";
  if (proposals.empty())
    return "It does not fit, and no key of the configuration makes it fit: more ranks (--ranks) or a larger "
           "device.\n\n";
  Table table{{{plan.fits ? "faster, and fits" : "it does not fit; this does", true}, {"GB"}, {"seconds a step"}}, {}};
  for (const Proposal& p : proposals)
    table.rows.push_back({fmt::format("{}", fmt::join(p.overrides, " ")), fmt::format("{:.2f}", gigabytes(p.bytes)),
                          seconds_text(p.seconds)});
  return aligned_table(table) + "\n";
}

std::string plan_text(const Plan& plan, const Machine& machine, const Planner& planner,
                      const std::vector<Proposal>& proposals) {
  std::string text = fmt::format(
      "{} parameters, dp {} × tp {} on {}\n"
      "largest micro-batch: {} tokens, {} of them trained\n\n",
      plan.parameters, plan.dp, plan.tp, printable(machine.name), plan.memory.pass.tokens, plan.memory.pass.trained);
  Table memory{{{"memory of a rank", true}, {"GB"}}, {}};
  for (const auto& [name, bytes] : plan.memory.parts)
    memory.rows.push_back({name, fmt::format("{:.2f}", gigabytes(bytes))});
  memory.rows.push_back({"in all", fmt::format("{:.2f}", gigabytes(plan.memory.total()))});
  memory.rows.push_back(
      {"the device has, less what is reserved", fmt::format("{:.2f}", gigabytes(planner.memory_bytes()))});
  if (plan.memory.on_host > 0) {
    const std::optional<int64_t> host = planner.host_memory_bytes();
    memory.rows.push_back({"besides, in the host's memory", fmt::format("{:.2f}", gigabytes(plan.memory.on_host))});
    memory.rows.push_back({"a device's share of that", host ? fmt::format("{:.2f}", gigabytes(*host)) : "not known"});
  }
  text += aligned_table(memory) + "\n" + proposals_text(plan, proposals);
  Table step{{{"time of a step", true}, {"seconds"}, {"share"}}, {}};
  const double total = plan.step.total();
  for (const auto& [name, seconds] : plan.step.seconds)
    step.rows.push_back({name, seconds_text(seconds), fmt::format("{:.1f}%", 100 * seconds / total)});
  step.rows.push_back({"in all", seconds_text(total), std::string("100%")});
  text += aligned_table(step) + "\n";
  const auto bound = std::max_element(plan.step.seconds.begin(), plan.step.seconds.end(),
                                      [](const auto& a, const auto& b) { return a.second < b.second; });
  const std::string dealt =
      plan.dealt_steps < plan.steps ? fmt::format("the mean of the first {} steps: ", plan.dealt_steps) : std::string();
  text += fmt::format(
      "{}{:.0f} tokens and {:.3g} floating-point operations a step: {:.0f} tokens a second, bound by {}\n"
      "{} steps: {}, without loading, measuring held-out data and saving\n"
      "a checkpoint: {:.2f} GB of weights, {:.2f} GB of optimizer state\n",
      dealt, plan.step.tokens, plan.step.flops, plan.step.tokens / total, bound->first, plan.steps,
      duration(static_cast<double>(plan.steps) * total), gigabytes(plan.weights_bytes),
      gigabytes(plan.optimizer_bytes));
  return text;
}

std::optional<AssumedCorpus> assumed_corpus(const PlanArguments& options) {
  if (options.examples.has_value() != options.example_tokens.has_value())
    throw BadInput("--examples N and --example-tokens L go together: a corpus that is not there yet");
  if (!options.examples) return std::nullopt;
  return AssumedCorpus{*options.examples, *options.example_tokens};
}

void check_new_machine(const std::string& file) {
  if (!file.ends_with(".yaml"))
    throw BadInput(fmt::format("--save-machine is {}, must end in .yaml, as --gpu wants it", file));
  if (std::filesystem::exists(file))
    throw BadInput(fmt::format("--save-machine {} is there already; choose another name", file));
  if (const auto folder = std::filesystem::absolute(file).parent_path(); !std::filesystem::is_directory(folder))
    throw BadInput(fmt::format("--save-machine {}: there is no folder {}", file, folder.string()));
}

int run(const PlanArguments& options) {
  const std::optional<AssumedCorpus> assumed = assumed_corpus(options);
  if (options.ranks < 1) throw BadInput(fmt::format("--ranks is {}, must be at least 1", options.ranks));
  const std::string& save = options.save_machine;
  if (!save.empty()) check_new_machine(save);
  std::vector<std::string> overrides = options.overrides;
  overrides.push_back("run.dir=none");  // nothing is written
  const RunConfig config = load_run_config(options.config, overrides);
  const Machine machine = options.gpu.empty() ? this_machine(options.ranks) : load_machine(options.gpu);
  const Planner planner(config, options.ranks, machine, assumed);
  const Plan plan = planner.plan();
  const std::vector<Proposal> proposals = planner.proposals();
  if (!save.empty()) write_durable(save, fmt::format("# {}\n{}", machine.name, dump_fields(machine)));
  fmt::print(
      "{}", options.json ? plan_json(plan, machine, planner, proposals) : plan_text(plan, machine, planner, proposals));
  return static_cast<int>(plan.fits ? ExitStatus::kDone : ExitStatus::kBadInput);
}

}  // namespace

void add_plan(CLI::App& app, Action& action) {
  const auto options = std::make_shared<PlanArguments>();
  CLI::App* command = app.add_subcommand("plan", "memory and time that a training takes, before it is started");
  command->add_option("CONFIG", options->config, "YAML file of spt train")->required();
  command->add_option("key=value", options->overrides, "values that take the place of the file's");
  command->add_option("--ranks", options->ranks, "dp × tp, one a device")->capture_default_str();
  command->add_option("--gpu", options->gpu,
                      "a name in configs/machines, or a file [this machine's CPU, timed for a second]");
  command->add_option("--save-machine", options->save_machine,
                      "writes the machine that is reckoned with to a file: with another network, for --gpu");
  command->add_option("--examples", options->examples, "in place of data.train: so many examples");
  command->add_option("--example-tokens", options->example_tokens, "of so many tokens each, all trained");
  command->add_flag("--json", options->json, "as JSON, with all digits");
  command->footer(
      "Needs model.path's config.json, of which nothing else is read, and the corpus; nothing is started. Exit status "
      "1 "
      "where it does not fit.\n"
      "Example: spt plan configs/llama2_7b_spt.yaml --ranks 8 --gpu h100-80");
  command->callback([options, &action] {
    action = [options](int argc, char** argv) {
      return run_on_one_rank(argc, argv, "plan has no work for more: --ranks N is what it plans for",
                             [&] { return with_printable_errors([&] { return run(*options); }); });
    };
  });
}

}  // namespace spt
