#include <memory>
#include <optional>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/stop.h"
#include "data/annotate.h"
#include "data/chat_client.h"
#include "data/role_from.h"
#include "launch/checkpoint_answers.h"
#include "launch/commands.h"
#include "launch/endpoint_options.h"
#include "launch/one_rank.h"

namespace spt {
namespace {

struct AnnotateArguments {
  AnnotateConfig config;
  std::string annotator = "role_prompt";
  EndpointOptions endpoint;
  CheckpointOptions checkpoint;
  std::string role_from, role_wording = "You are {}";
  bool dry_run = false;
};

void print_row(const char* name, int64_t value) {
  fmt::print("  {:<26}{:>12}\n", name, value);
}

void print_table(const AnnotateArguments& options, const Annotation& annotation) {
  const AnnotateStatistics& s = annotation.statistics();
  fmt::print("{}\n", options.config.out.string());
  print_row("records", s.records);
  print_row("roles by the model", s.roles);
  print_row("roles by hand (neutral)", s.neutral);
  print_row("roles that were there", s.kept);
  print_row("without a role", s.no_role + s.no_answer);
  print_row("asked again", s.asked_again);
  fmt::print("  {}\n", tokens_and_cost(s.usage, options.endpoint.prices));
  if (s.no_answer > 0)
    spdlog::warn("{} records got no answer; to ask for them alone, annotate {} once more", s.no_answer,
                 options.config.out.string());
  if (s.no_role + s.no_answer > 0 && options.config.report.empty())
    spdlog::warn(
        "{} records have no role: --report FILE lists them; spt prepare takes the file with --missing-role drop",
        s.no_role + s.no_answer);
  if (annotation.keeps_journal())
    spdlog::info("{}.journal keeps the answers: without --limit only the other records are asked for",
                 options.config.out.string());
}

// The end of either way to ask: done, or stopped on request.
ExitStatus conclude(const AnnotateArguments& options, Annotation& annotation) {
  annotation.sync();
  if (!annotation.is_done()) {
    spdlog::warn("stopped on request: {} of {} records are done; start the same command again to go on",
                 annotation.statistics().done(), annotation.statistics().records);
    return ExitStatus::kStopped;
  }
  annotation.finish();
  print_table(options, annotation);
  return ExitStatus::kDone;
}

int dry_run(const AnnotateArguments& options, const Annotator& annotator) {
  if (!options.checkpoint.folder.empty()) require_template(options.checkpoint);
  constexpr int64_t kShown = 3;  // unless --limit says how many are of interest
  Annotation annotation(options.config, annotator);
  const AnnotateStatistics& s = annotation.statistics();
  const TokenUsage estimate = annotation.estimate();
  const int64_t most = options.config.limit > 0 ? options.config.limit : kShown;
  int64_t asked = 0;
  for (auto prompt = annotation.next(); prompt; prompt = annotation.next()) {
    if (++asked <= most) fmt::print("{}", prompt_text(asked, *prompt));
  }
  if (asked > most) fmt::print("--- and {} more; --limit N shows and counts the first N records alone\n", asked - most);
  fmt::print("--- nothing was asked\n");
  print_row("records", s.records);
  print_row("to ask for", asked);
  print_row("roles by hand (neutral)", s.neutral);
  print_row("roles that were there", s.kept);
  fmt::print("  about {}\n", tokens_and_cost(estimate, options.endpoint.prices));
  return static_cast<int>(ExitStatus::kDone);
}

int annotate_by_endpoint(const AnnotateArguments& options, const Annotator& annotator) {
  const ChatEndpoint endpoint = endpoint_with_key(options.endpoint, annotator.config().max_new_tokens);
  ChatClient client(endpoint);
  Annotation annotation(options.config, annotator);
  annotation.begin(endpoint.model, endpoint.extra);
  install_stop_handlers();
  {
    const AnnotateStatistics& s = annotation.statistics();
    ChatProgress progress(s.done(), s.records, "records", options.endpoint.prices);
    client.run([&] { return annotation.next(); },
               [&](const ChatAnswer& answer) {
                 annotation.take(answer);
                 progress.show(s.done(), s.usage);
               });
  }
  return static_cast<int>(conclude(options, annotation));
}

ExitStatus annotate_by_ranks(const AnnotateArguments& options, Runtime& runtime) {
  const Annotator annotator(options.annotator);
  const int64_t max_new_tokens = annotator.config().max_new_tokens;
  install_stop_handlers();
  if (runtime.rank() != 0) {
    answer_by_checkpoint(runtime, options.checkpoint, max_new_tokens, nullptr);
    return ExitStatus::kDone;
  }
  Annotation annotation(options.config, annotator);
  {
    const AnnotateStatistics& s = annotation.statistics();
    std::optional<ChatProgress> progress;
    const ChatWork work{[&](const std::string& model, const std::string& settings) {
                          annotation.begin(model, settings);
                          progress.emplace(s.done(), s.records, "records", options.endpoint.prices);
                        },
                        [&] { return annotation.next(); },
                        [&](const ChatAnswer& answer) {
                          annotation.take(answer);
                          progress->show(s.done(), s.usage);
                        }};
    answer_by_checkpoint(runtime, options.checkpoint, max_new_tokens, &work);
  }
  return conclude(options, annotation);
}

int annotate_by_field(const AnnotateArguments& options) {
  if (!options.config.report.empty()) throw BadInput("--report is for roles that a model writes, not for --role-from");
  const AnnotateConfig& config = options.config;
  const RoleFromStatistics s = write_roles_from(
      {config.input, config.out, options.role_from, options.role_wording, config.force, config.replace, config.limit});
  fmt::print("{}\n", config.out.string());
  print_row("records", s.records);
  print_row("roles from the field", s.roles);
  print_row("roles that were there", s.kept);
  print_row("without a role", s.no_role);
  if (s.third_person > 0)
    spdlog::warn(
        "{} of {} roles go on in the third person, the first: {}\nTheir words are kept as they are: read some, and "
        "reword the field where it matters, or let a model write the roles",
        s.third_person, s.roles, s.third_person_example);
  return static_cast<int>(ExitStatus::kDone);
}

int run_alone(AnnotateArguments& options) {
  if (options.dry_run) return dry_run(options, Annotator(options.annotator));
  if (!options.role_from.empty()) return annotate_by_field(options);
  return annotate_by_endpoint(options, Annotator(options.annotator));
}

int run(AnnotateArguments& options, int argc, char** argv) {
  const bool by_endpoint = !options.endpoint.endpoint.url.empty(), by_checkpoint = !options.checkpoint.folder.empty(),
             by_field = !options.role_from.empty();
  if (by_endpoint + by_checkpoint + by_field > 1 || (by_endpoint + by_checkpoint + by_field == 0 && !options.dry_run))
    throw BadInput("give one of --endpoint URL (with --model NAME), --checkpoint DIR and --role-from FIELD");
  if (!by_checkpoint && !options.checkpoint.overrides.empty())
    throw BadInput(fmt::format("{}: mesh.* and model.dtype are for --checkpoint", options.checkpoint.overrides[0]));
  check_prices(options.endpoint.prices);
  if (options.dry_run && by_field)
    throw BadInput("--dry-run is for what costs money or time: --role-from asks nothing");
  if (options.config.out.empty() && !options.dry_run) throw BadInput("--out is missing: the file for the result");
  if (!by_checkpoint || options.dry_run)
    return run_on_one_rank(argc, argv,
                           by_endpoint ? "annotate --endpoint: --concurrency N is how many requests are under way"
                                       : "annotate without --checkpoint has no work for more",
                           [&] { return run_alone(options); });
  return run_distributed(argc, argv, [&](Runtime& runtime) { return annotate_by_ranks(options, runtime); });
}

}  // namespace

void add_annotate(CLI::App& app, Action& action) {
  const auto options = std::make_shared<AnnotateArguments>();
  CLI::App* command = app.add_subcommand("annotate", "writes a role prompt for each record");
  command->add_option("input", options->config.input, "records, JSON lines (IN.jsonl)")->required();
  command->add_option("--out", options->config.out, "the records with their roles (OUT.jsonl)");
  add_endpoint_options(*command, options->endpoint);
  command->add_option("--annotator", options->annotator, "prompt and checks: a name in configs/annotators, or a file")
      ->capture_default_str();
  command->add_option("--role-from", options->role_from, "no model: this field of each record becomes its role");
  command->add_option("--role-wording", options->role_wording, "of --role-from")->capture_default_str();
  command->add_flag("--dry-run", options->dry_run, "show prompts, tokens and cost; ask nothing, write nothing");
  command->add_option("--limit", options->config.limit, "the first records only; 0: all")->capture_default_str();
  command->add_flag("--replace", options->config.replace, "new roles for records that have one");
  command->add_option("--report", options->config.report, "JSON lines: what was asked again, what has no role and why");
  command->add_flag("--force", options->config.force, "replace OUT.jsonl and what belongs to it");
  add_checkpoint_options(*command, options->checkpoint);
  command->footer(
      "Examples:\n"
      "  spt annotate lima.jsonl --out lima-role.jsonl --endpoint https://api.openai.com/v1 --model gpt-4o\n"
      "  mpirun -np 8 spt annotate lima.jsonl --out lima-role.jsonl --checkpoint models/Mistral-7B-Instruct-v0.2 "
      "--template mistral_instruct\n"
      "  spt annotate personas.jsonl --out lima-role.jsonl --role-from respondent");
  command->callback(
      [options, &action] { action = [options](int argc, char** argv) { return run(*options, argc, argv); }; });
}

}  // namespace spt
