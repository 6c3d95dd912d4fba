#include <fstream>
#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "launch/commands.h"
#include "launch/confined_verify.h"
#include "launch/inspect_corpus.h"
#include "launch/inspect_print.h"
#include "trainer/checkpoint_files.h"
#include "trainer/describe.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

enum class Kind { kCorpus, kRecords, kCheckpoint, kRun, kEvaluation, kModel };

Kind kind_of_folder(const fs::path& path) {
  if (fs::exists(path / kProgressFile) || step_of(path)) return Kind::kCheckpoint;
  if (fs::exists(path / "results.json")) return Kind::kEvaluation;
  if (fs::exists(path / "manifest.json") || fs::exists(path / "metrics.jsonl")) return Kind::kRun;
  if (fs::exists(path / "config.json")) return Kind::kModel;
  throw BadInput(
      fmt::format("{}: holds nothing to inspect; looked for {} (a checkpoint), manifest.json or metrics.jsonl (a run), "
                  "results.json (an evaluation) and config.json (a model)",
                  path.string(), kProgressFile));
}

Kind kind_of_file(const fs::path& path) {
  if (std::error_code error; !fs::is_regular_file(path, error))
    throw BadInput(fmt::format("{}: is no regular file", path.string()));
  std::ifstream file(path, std::ios::binary);
  char first = 0;
  file >> first;  // that is no white space
  if (!file && path.extension() != ".h5" && path.extension() != ".jsonl")
    throw BadInput(fmt::format("{}: is empty or cannot be read", path.string()));
  if (first == '\x89' || path.extension() == ".h5") return Kind::kCorpus;
  if (first == '{' || path.extension() == ".jsonl") return Kind::kRecords;
  throw BadInput(fmt::format(
      "{}: is neither a corpus (HDF5, made by spt prepare) nor records (JSON lines); a checkpoint, a run and "
      "a model are folders",
      path.string()));
}

Kind kind_of(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) throw BadInput(fmt::format("{}: does not exist", path.string()));
  return fs::is_directory(path, error) ? kind_of_folder(path) : kind_of_file(path);
}

// Options that would be ignored are refused.
void check_options(const InspectOptions& options, Kind kind) {
  const auto refuse = [&](bool given, const char* option, const char* what) {
    if (given) throw BadInput(fmt::format("{} is for {}, and {} is none", option, what, options.path.string()));
  };
  const bool is_corpus = kind == Kind::kCorpus;
  refuse(!options.rows.empty() && !is_corpus, "--rows", "a corpus");
  refuse(!options.tokenizer.empty() && !is_corpus, "--tokenizer", "a corpus");
  refuse(options.verify && (kind == Kind::kRecords || kind == Kind::kEvaluation), "--verify", "what has checksums");
  refuse(options.verify_seconds != 0 && !is_corpus, "--verify-seconds", "a corpus");
  refuse(!options.against.empty() && !is_corpus && kind != Kind::kRecords, "--against", "a corpus or records");
}

void show(const nlohmann::ordered_json& facts, bool json) {
  if (json)
    fmt::print("{}\n", facts.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  else
    print_facts(facts);
}

int run(const InspectOptions& options) {
  const Kind kind = kind_of(options.path);
  check_options(options, kind);
  if (kind == Kind::kCorpus) inspect_corpus(options);
  if (kind == Kind::kRecords) inspect_records(options);
  if (kind == Kind::kCheckpoint) show(describe_checkpoint(options.path, options.verify), options.json);
  if (kind == Kind::kRun) show(describe_run(options.path, options.verify), options.json);
  if (kind == Kind::kEvaluation) show(describe_evaluation(options.path), options.json);
  if (kind == Kind::kModel) show(describe_model(options.path, options.verify), options.json);
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("inspect", "shows a corpus, records, a checkpoint, a run, an evaluation or a model folder");
  auto options = std::make_shared<InspectOptions>();
  auto confined = std::make_shared<bool>(false);
  command
      ->add_option("path", options->path,
                   "corpus.h5, records.jsonl, or the folder of a checkpoint, run, evaluation or model")
      ->required();
  command->add_option("--rows", options->rows, "rows A to B-1 (A:B) of a corpus, from 0");
  command->add_option("--tokenizer", options->tokenizer, "folder of the corpus's tokenizer: shows text instead of ids");
  command->add_flag("--json", options->json, "as JSON");
  command->add_flag("--verify", options->verify,
                    "reads everything: a corpus's or checkpoint's checksums, a model's weights");
  command
      ->add_option("--verify-seconds", options->verify_seconds,
                   "of --verify: the time it may take; 0: 60 and one more for each MB of the corpus")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--against", options->against,
                      "task files: which of their questions share words with which record");
  command->add_option("--data-root", options->data_root, "folder below which the tasks' data lie")
      ->capture_default_str();
  command->add_option("--ngram", options->ngram, "words in a row that must be the same")->capture_default_str();
  command->add_flag(kConfinedOption, *confined)->group("");  // verify_corpus_apart starts it so
  command->footer(
      "Examples:\n"
      "  spt inspect lima_role.h5 --rows 0:2 --tokenizer models/llama2 --verify\n"
      "  spt inspect lima_role.jsonl --against configs/tasks/gsm8k.yaml configs/tasks/mmlu.yaml --data-root bench\n"
      "  spt inspect runs/tiny");
  command->callback([options, confined, &action] {
    action = [options, confined](int, char**) {
      return *confined ? verify_corpus_confined(options->path, options->verify_seconds) : run(*options);
    };
  });
}

}  // namespace spt
