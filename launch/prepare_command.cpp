#include <memory>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/fields.h"
#include "data/prepare.h"
#include "launch/commands.h"
#include "launch/options.h"

namespace spt {
namespace {

struct Options {
  PrepareConfig config;
  std::filesystem::path tokenizer;
  std::string chat_template = "spt";
  std::string arm = "role", format = "auto", missing_role = "error";
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
}

void warn(const PrepareConfig& config, const PrepareStatistics& s) {
  if (config.arm == Arm::kPlain && s.without_role > s.dropped_without_role && s.without_role < s.records)
    spdlog::warn(
        "{} of {} records have no role and are in this plain arm all the same; a role arm of the same file cannot hold "
        "them: give "
        "--missing-role drop to both, or spt compare will refuse the pair",
        s.without_role, s.records);
  if (s.long_roles > 0)
    spdlog::warn("{} roles are longer than {} tokens: generation does not recognise a role of that length",
                 s.long_roles, kMaxRoleTokens);
}

int run(Options& options) {
  PrepareConfig& config = options.config;
  config.arm = parse_choice<Arm>("--arm", options.arm);
  config.format = parse_choice<RecordFormat>("--format", options.format);
  config.missing_role = parse_choice<MissingRole>("--missing-role", options.missing_role);
  if (config.format == RecordFormat::kPrompt)
    throw BadInput("--format prompt is for spt generate: it has no answers to train on");
  const ChatTemplate chat_template = ChatTemplate::load(options.chat_template);
  const auto tokenizer = load_tokenizer(options.tokenizer);
  const PrepareStatistics statistics = prepare(config, chat_template, *tokenizer);
  print_table(config, statistics);
  warn(config, statistics);
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace

void add_prepare(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("prepare", "conversations → token ids and mask of trained tokens, in HDF5");
  auto options = std::make_shared<Options>();
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
  command->add_flag("--force", options->config.force, "replace OUT.h5 if it is there");
  command->footer(
      "Example:\n"
      "  spt prepare lima_role.jsonl --tokenizer models/llama2 --arm role --out lima_role.h5\n"
      "  spt prepare lima_role.jsonl --tokenizer models/llama2 --arm plain --out lima_plain.h5");
  command->callback([options, &action] { action = [options](int, char**) { return run(*options); }; });
}

}  // namespace spt
