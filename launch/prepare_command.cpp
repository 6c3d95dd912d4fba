#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/fields.h"
#include "base/read_file.h"
#include "data/duplicates.h"
#include "data/output_file.h"
#include "data/prepare.h"
#include "data/prepare_check.h"
#include "launch/commands.h"
#include "launch/one_rank.h"
#include "launch/options.h"

namespace spt {
namespace {

struct PrepareArguments {
  PrepareConfig config;
  std::filesystem::path tokenizer;
  std::string chat_template = "spt";
  std::string arm = "role", format = "auto", missing_role = "error", roles = "own", valid;
  std::vector<std::string> select;
  bool no_restatement = false, no_role_loss = false;
  std::filesystem::path duplicates;
  std::vector<std::filesystem::path> duplicates_with;
};

void print_table(const PrepareConfig& config, const PrepareStatistics& s) {
  const auto row = [](const char* name, int64_t value) { fmt::print("  {:<26}{:>12}\n", name, value); };
  fmt::print("{} ({} arm)\n", config.out.string(), fields_detail::format_any(config.arm));
  row("records", s.records);
  row("examples", s.examples);
  row("tokens", s.tokens);
  row("trained tokens", s.trained_tokens);
  row("longest example", s.longest);
  row("truncated", s.truncated);
  row("dropped, no room to answer", s.dropped_too_long);
  row("dropped, no role", s.dropped_without_role);
  row("trailing turns dropped", s.dropped_trailing_turns);
  if (!config.ablation.restatement) row("roles without restatement", s.without_restatement);
  if (config.selection.valid) row("held out", s.valid_examples);
}

void report(const PrepareArguments& options) {
  const PrepareConfig& config = options.config;
  check_output(options.duplicates, "--duplicates", {config.out, config.valid_out});
  const DuplicatesStatistics found =
      report_duplicates({config.inputs, options.duplicates_with, options.duplicates, config.format, config.force});
  fmt::print("{}: {} questions, {} pairs the same, {} nearly\n", options.duplicates.string(), found.questions,
             found.exact, found.near);
}

void warn(const PrepareConfig& config, const PrepareStatistics& s) {
  if (config.arm == Arm::kPlain && s.without_role > s.dropped_without_role && s.without_role < s.records)
    spdlog::warn(
        "{} of {} records have no role and are in this plain arm all the same; a role arm of the same file cannot hold "
        "them: give "
        "--missing-role drop to both, or spt compare will refuse the pair",
        s.without_role, s.records);
  if (s.beyond_model > 0)
    spdlog::warn(
        "{} examples hold more than the {} tokens that the model takes (max_position_embeddings of the tokenizer's "
        "folder), and training it refuses them: --max-tokens {} cuts them",
        s.beyond_model, config.model_tokens, config.model_tokens);
  if (s.long_roles > 0)
    spdlog::warn("{} roles are longer than {} tokens: generation does not recognise a role of that length",
                 s.long_roles, kMaxRoleTokens);
}

// max_position_embeddings of the model whose folder the tokenizer lies in; 0 where no model does.
int64_t model_tokens(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  if (std::error_code error; !std::filesystem::is_regular_file(file, error)) return 0;
  const auto config = nlohmann::json::parse(read_file(file), nullptr, false);
  if (!config.is_object() || !config.contains("max_position_embeddings")) return 0;
  const auto& value = config["max_position_embeddings"];
  return value.is_number_integer() ? std::max<int64_t>(0, value.get<int64_t>()) : 0;
}

int run(PrepareArguments& options) {
  PrepareConfig& config = options.config;
  config.arm = parse_choice<Arm>("--arm", options.arm);
  config.format = parse_choice<RecordFormat>("--format", options.format);
  config.missing_role = parse_choice<MissingRole>("--missing-role", options.missing_role);
  if (config.format == RecordFormat::kPrompt)
    throw BadInput("--format prompt is for spt generate: it has no answers to train on");
  for (const std::string& text : options.select) add_select(config.selection, text);
  if (!options.valid.empty()) config.selection.valid = parse_amount("--valid", options.valid);
  config.ablation.roles = parse_choice<Roles>("--roles", options.roles);
  config.ablation.restatement = !options.no_restatement;
  config.ablation.role_loss = !options.no_role_loss;
  if (options.duplicates.empty() && !options.duplicates_with.empty())
    throw BadInput("--duplicates-with needs --duplicates, the report to write");
  const ChatTemplate chat_template = ChatTemplate::load(options.chat_template);
  const auto tokenizer = load_tokenizer(options.tokenizer);
  config.model_tokens = model_tokens(options.tokenizer);
  check_prepare(config);
  check_output(config.out, "--out", options.duplicates_with);
  if (!options.duplicates.empty()) report(options);
  const PrepareStatistics statistics = prepare(config, chat_template, *tokenizer);
  print_table(config, statistics);
  warn(config, statistics);
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace

void add_prepare(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("prepare", "conversations → token ids and mask of trained tokens, in HDF5");
  auto options = std::make_shared<PrepareArguments>();
  command->add_option("inputs", options->config.inputs, "records, JSON lines (IN.jsonl…)")->required();
  command->add_option("--tokenizer", options->tokenizer, "folder with tokenizer.json or tokenizer.model")->required();
  command->add_option("--out", options->config.out, "the corpus to write (OUT.h5)")->required();
  command->add_option("--arm", options->arm, "role: the answer opens with the record's role; plain: the answer alone")
      ->capture_default_str();
  command->add_option("--template", options->chat_template, "a name in configs/templates, or a file")
      ->capture_default_str();
  command->add_option("--max-tokens", options->config.max_tokens, "longer examples are cut")->capture_default_str();
  command->add_option("--format", options->format, "auto, lima, messages, sharegpt or alpaca")->capture_default_str();
  command
      ->add_option("--missing-role", options->missing_role, "a record without a role: error, or drop it (in both arms)")
      ->capture_default_str();
  command
      ->add_option(
          "--weight", options->config.selection.weights,
          "how often an input counts, given once for each, in their order: 2 takes each record twice, 0.5 half")
      ->allow_extra_args(false);
  command
      ->add_option("--select", options->select,
                   "source=NAME, first=N, random=N or random=SHARE; several apply in this order")
      ->allow_extra_args(false);
  command->add_option("--seed", options->config.selection.seed, "of all that is chosen at random")
      ->check(seed_range())
      ->capture_default_str();
  command->add_option("--valid", options->valid, "so many records (N or a share) are held out, the same in every arm");
  command->add_option("--valid-out", options->config.valid_out, "the corpus of what --valid holds out");
  command
      ->add_option("--system", options->config.ablation.system,
                   "default: the template's system line; none; role: one that asks for a role; or the line itself")
      ->capture_default_str();
  command->add_option("--roles", options->roles, "own, shuffled (another question's), generic, or filler (as long)")
      ->capture_default_str();
  command->add_flag("--no-restatement", options->no_restatement, "leaves out the role's sentences \"The user …\"");
  command->add_flag("--no-role-loss", options->no_role_loss, "trains on the answer only");
  command->add_option("--shards", options->config.shards, "so many files OUT.part-00001-of-0000N.h5 hold the tokens")
      ->capture_default_str();
  command->add_option("--threads", options->config.threads, "that encode; 0: one a core")->capture_default_str();
  command->add_option("--duplicates", options->duplicates, "a report of questions that stand twice (REPORT.tsv)");
  command
      ->add_option("--duplicates-with", options->duplicates_with,
                   "and of those that stand in this file too (TEST.jsonl)")
      ->allow_extra_args(false);
  command->add_flag("--force", options->config.force, "replaces files that are there");
  command->footer(
      "Example:\n"
      "  spt prepare lima_role.jsonl --tokenizer models/llama2 --arm role --out lima_role.h5\n"
      "  spt prepare lima_role.jsonl --tokenizer models/llama2 --arm plain --out lima_plain.h5\n"
      "  spt prepare lima_role.jsonl --tokenizer models/llama2 --out 250.h5 --select random=250 --valid 50 --valid-out "
      "valid.h5");
  command->callback([options, &action] {
    action = [options](int argc, char** argv) {
      return run_on_one_rank(argc, argv, "prepare: --threads N is how many cores it takes",
                             [&] { return run(*options); });
    };
  });
}

}  // namespace spt
