#include "trainer/run_inputs.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "base/durable.h"
#include "base/sha256.h"
#include "trainer/same_view.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

void check_views(const RunConfig& config, Runtime& runtime) {
  std::vector<Seen> seen{{"program (/proc/self/exe)", hash_file_ends("/proc/self/exe")},
                         {"configuration", sha256_hex(dump_fields(config))},
                         {fmt::format("model {}", config.model.path.string()), hash_folder(config.model.path)},
                         {fmt::format("corpus {}", config.data.train.string()), hash_file_ends(config.data.train)}};
  if (config.data.valid)
    seen.push_back({fmt::format("corpus {}", config.data.valid->string()), hash_file_ends(*config.data.valid)});
  check_same_view(runtime, seen);
}

// An example that data.max_tokens cuts before its first trained token would silently count for nothing.
void require_trained_tokens(const Dataset& corpus, int64_t max_tokens) {
  if (max_tokens > corpus.info().max_tokens)
    throw BadInput(
        fmt::format("data.max_tokens is {}, but the corpus was cut at {}: prepare it again with --max-tokens {}",
                    max_tokens, corpus.info().max_tokens, max_tokens));
  int64_t untrained = 0;
  std::string first;
  for (int64_t row = 0; row < corpus.size(); ++row) {
    if (corpus.lengths()[static_cast<size_t>(row)] < max_tokens) continue;
    if (corpus.batch({&row, 1}).trained_tokens() > 0) continue;
    if (untrained++ == 0) first = corpus.id(row);
  }
  if (untrained > 0)
    throw BadInput(
        fmt::format("data.max_tokens {} leaves {} of {} examples without a trained token, the first has id {}; "
                    "raise it, or prepare again with --max-tokens {}, which leaves such examples out",
                    max_tokens, untrained, corpus.size(), first, max_tokens));
  spdlog::info("data.max_tokens trims {} of {} examples", corpus.trimmed(), corpus.size());
}

std::unique_ptr<Dataset> open_corpus(const char* key, const fs::path& path, const RunConfig& config,
                                     const Tokenizer& tokenizer, const ModelConfig& model) {
  std::unique_ptr<Dataset> corpus;
  try {
    corpus = std::make_unique<Dataset>(path, config.data.max_tokens.value_or(0));
    corpus->require_tokenizer(tokenizer.sha256(), config.model.path);
    corpus->verify();
    check_corpus(*corpus, config, model);
  } catch (const BadInput& error) {
    throw BadInput(fmt::format("{}: {}", key, error.what()));
  }
  return corpus;
}

}  // namespace

void check_corpus(const Dataset& corpus, const RunConfig& config, const ModelConfig& model) {
  corpus.require_lengths(model.max_positions);
  if (config.data.max_tokens) require_trained_tokens(corpus, *config.data.max_tokens);
}

int64_t total_steps(const RunConfig& config, const SamplerConfig& sampler) {
  const int64_t steps = config.train.steps ? *config.train.steps : *config.train.epochs * steps_per_epoch(sampler);
  if (config.schedule.warmup_steps >= steps)
    throw BadInput(fmt::format("schedule.warmup_steps is {}, must be below the run's {} steps",
                               config.schedule.warmup_steps, steps));
  return steps;
}

int64_t save_every(const RunConfig& config, const SamplerConfig& sampler) {
  return config.checkpoint.every_steps.value_or(steps_per_epoch(sampler));
}

void check_run_folder(const RunConfig& config) {
  require_writable_below(config.run.dir, "run.dir");
  std::error_code error;
  const fs::path stored = config.run.dir / "config.yaml";
  if (!fs::exists(stored, error)) return;
  const std::vector<std::string> changed = differences(load_run_config(stored, {}), config);
  if (!changed.empty())
    throw BadInput(
        fmt::format("{} holds a run with another configuration; choose another run.dir, or the same values:\n  {}",
                    config.run.dir.string(), fmt::join(changed, "\n  ")));
}

RunInputs load_run_inputs(const RunConfig& config, Runtime& runtime) {
  if (runtime.rank() == 0) check_run_folder(config);
  check_views(config, runtime);
  const ModelConfig model = load_model_config(config.model.path);
  auto tokenizer = load_tokenizer(config.model.path);
  check_vocabulary(model, tokenizer->size(), config.model.path);
  auto train = open_corpus("data.train", config.data.train, config, *tokenizer, model);
  std::unique_ptr<Dataset> valid;
  if (config.data.valid) {
    valid = open_corpus("data.valid", *config.data.valid, config, *tokenizer, model);
    if (valid->info().arm != train->info().arm)
      throw BadInput(fmt::format("data.train ({}) is of arm {}, data.valid ({}) of arm {}: use corpora of one arm",
                                 config.data.train.string(), train->info().arm, config.data.valid->string(),
                                 valid->info().arm));
  }
  if (runtime.rank() == 0 && valid && valid->info().content_sha256 == train->info().content_sha256)
    spdlog::warn("data.valid ({}) holds the same as data.train: nothing is held out", config.data.valid->string());
  const SamplerConfig sampler{train->size(), config.train.batch_examples, config.run.seed};
  const int64_t steps = total_steps(config, sampler);
  auto chat_template = ChatTemplate::parse(train->info().template_text, config.data.train.string() + ": template");
  ModelFiles model_files = read_model_files(config.model.path, *tokenizer);
  return {model,
          std::move(model_files),
          std::move(tokenizer),
          std::move(train),
          std::move(valid),
          std::move(chat_template),
          sampler,
          steps,
          save_every(config, sampler)};
}

std::string describe_example(const Dataset& corpus, int64_t row, const Tokenizer& tokenizer) {
  const std::vector<int64_t> rows{row};
  const Batch batch = corpus.batch(rows);
  std::string text;
  bool inside = false;
  for (int64_t i = 0; i < batch.ids.size(0); ++i) {
    // The label of a position is the token after it.
    const bool trained = i > 0 && batch.labels[i - 1].item<int64_t>() >= 0;
    if (trained != inside) text += trained ? "⟦" : "⟧";
    inside = trained;
    text += tokenizer.piece(static_cast<int32_t>(batch.ids[i].item<int64_t>()));
  }
  return fmt::format("example {} ({} tokens; what is trained stands in ⟦ ⟧): {}{}", corpus.id(row), batch.ids.size(0),
                     text, inside ? "⟧" : "");
}

}  // namespace spt
