#include "trainer/trainer.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <sys/resource.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include "base/durable.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/stop.h"
#include "dist/text.h"
#include "dist/watchdog.h"
#include "trainer/console.h"
#include "trainer/eval/held_out_loss.h"
#include "trainer/hf_folder.h"
#include "trainer/manifest.h"
#include "trainer/model/pretrained.h"
#include "trainer/optimizer_state.h"
#include "trainer/run_lock.h"
#include "trainer/same_view.h"
#include "trainer/tensorboard.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int64_t peak_memory_bytes(at::Device device) {
  if (device.is_cuda()) return 0;
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

int64_t trained_tokens(const Batch& batch) {
  return batch.labels.ne(-100).sum().item<int64_t>();
}

std::string weights_hash(const fs::path& folder) {
  Sha256 hash;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (files.size() == 1) return sha256_file(files[0]);
  for (const fs::path& file : files) hash.update(file.filename().string() + " " + sha256_file(file) + "\n");
  return hash.hex();
}

std::unique_ptr<Dataset> open_corpus(const char* key, const fs::path& path, const RunConfig& config, const Tokenizer& tokenizer,
                                     const ModelConfig& model) {
  auto corpus = std::make_unique<Dataset>(path, config.data.max_tokens.value_or(0));
  corpus->require_tokenizer(tokenizer.sha256(), config.model.path);
  const int64_t longest = *std::max_element(corpus->lengths().begin(), corpus->lengths().end());
  if (longest > model.max_positions)
    throw BadInput(fmt::format("{} ({}) has examples of {} tokens, the model takes {}: set data.max_tokens", path.string(), key, longest,
                               model.max_positions));
  return corpus;
}

}  // namespace

Trainer::Trainer(RunConfig config, Runtime& runtime, std::vector<std::string> command_line)
    : config_(std::move(config)),
      runtime_(runtime),
      command_line_(std::move(command_line)),
      model_config_((check_views(runtime), load_model_config(config_.model.path))),
      mesh_(runtime, config_.mesh),
      checkpoints_(config_.run.dir / "checkpoints", runtime.host_world()),
      model_(model_config_, mesh_.place.tp_rank, mesh_.tp->size()) {
  check_inputs();
}

void Trainer::check_views(Runtime& runtime) const {
  std::vector<Seen> seen{{"program (/proc/self/exe)", hash_file_ends("/proc/self/exe")},
                         {"configuration", sha256_hex(dump_fields(config_))},
                         {fmt::format("model {}", config_.model.path.string()), hash_folder(config_.model.path)},
                         {fmt::format("corpus {}", config_.data.train.string()), hash_file_ends(config_.data.train)}};
  if (config_.data.valid) seen.push_back({fmt::format("corpus {}", config_.data.valid->string()), hash_file_ends(*config_.data.valid)});
  check_same_view(runtime, seen);
}

void Trainer::check_inputs() {
  tokenizer_ = load_tokenizer(config_.model.path);
  if (tokenizer_->size() > model_config_.vocab_size)
    throw BadInput(fmt::format("{}: the tokenizer has {} tokens, the model {} (vocab_size in config.json)", config_.model.path.string(),
                               tokenizer_->size(), model_config_.vocab_size));
  train_ = open_corpus("data.train", config_.data.train, config_, *tokenizer_, model_config_);
  if (config_.data.valid) {
    valid_ = open_corpus("data.valid", *config_.data.valid, config_, *tokenizer_, model_config_);
    if (valid_->info().arm != train_->info().arm)
      throw BadInput(fmt::format("data.train is of arm {}, data.valid of arm {}: use corpora of one arm", train_->info().arm,
                                 valid_->info().arm));
  }
  template_ = ChatTemplate::parse(train_->info().template_text, config_.data.train.string() + ": template");
  sampler_ = {train_->size(), config_.train.batch_examples, config_.run.seed};
  const int64_t an_epoch = steps_per_epoch(sampler_);
  total_steps_ = config_.train.steps ? *config_.train.steps : *config_.train.epochs * an_epoch;
  if (config_.schedule.warmup_steps >= total_steps_)
    throw BadInput(fmt::format("schedule.warmup_steps is {}, must be below the run's {} steps", config_.schedule.warmup_steps, total_steps_));
  save_every_ = config_.checkpoint.every_steps.value_or(an_epoch);
  if (config_.model.init == Init::kPretrained) check_pretrained(model_, config_.model.path);
}

std::string Trainer::summary() const {
  const int64_t parameters = [&] {
    int64_t n = 0;
    for (const Parameter& parameter : model_.parameters().list())
      for (const Shard& shard : parameter.shards) {
        int64_t size = 1;
        for (const int64_t d : shard.global) size *= d;
        n += size;
      }
    return n;
  }();
  return fmt::format(
      "{} ranks: dp {} × tp {}, device {}, {} threads a rank\n{}\n"
      "model {}: {} parameters, {}\n"
      "corpus {}: arm {}, {} examples, {} steps an epoch of {} examples, {} steps in all, checkpoint every {}",
      runtime_.size(), mesh_.dp->size(), mesh_.tp->size(), runtime_.device().str(), at::get_num_threads(), mesh_.overview(),
      config_.model.path.string(), parameters, config_.model.init == Init::kRandom ? "random weights" : "pretrained",
      config_.data.train.string(), train_->info().arm, train_->size(), steps_per_epoch(sampler_), config_.train.batch_examples,
      total_steps_, save_every_);
}

ExitStatus Trainer::run() {
  const bool is_rank_0 = runtime_.rank() == 0;
  install_stop_handlers();
  watch_collectives(config_.run.io_timeout_s, runtime_.rank(), runtime_.hosts()[static_cast<size_t>(runtime_.rank())]);
  std::optional<RunLock> lock;
  if (is_rank_0) {
    prepare_run_folder();
    lock.emplace(config_.run.dir);
    log_to_file(config_.run.dir / "log.txt");
    spdlog::info("{}", summary());
  }
  runtime_.host_world().barrier();
  check_same_view(runtime_, {{fmt::format("run folder {}", config_.run.dir.string()), hash_file_ends(config_.run.dir / "run.lock")}});

  const int64_t first = load();
  if (first >= total_steps_) {
    spdlog::info("{} is finished: {} of {} steps", config_.run.dir.string(), first, total_steps_);
    return ExitStatus::kDone;
  }
  train_->verify();
  if (valid_) valid_->verify();
  const nlohmann::json manifest = make_manifest(
      runtime_, config_,
      {train_->info().content_sha256,
       is_rank_0 && config_.model.init == Init::kPretrained ? weights_hash(config_.model.path) : std::string(), command_line_});
  std::optional<MetricsWriter> metrics;
  std::optional<EventWriter> events;
  if (is_rank_0) {
    write_durable(config_.run.dir / "config.yaml", dump_fields(config_));
    write_durable(config_.run.dir / "manifest.json", manifest.dump(2) + "\n");
    metrics.emplace(config_.run.dir / "metrics.jsonl", first);
    events.emplace(config_.run.dir / "tensorboard", first);
    show_samples();
  }

  Console console(first, total_steps_, config_.run.log_every, is_rank_0);
  watch_collectives(config_.run.collective_timeout_s, runtime_.rank(), runtime_.hosts()[static_cast<size_t>(runtime_.rank())]);
  for (int64_t done = first; done < total_steps_;) {
    watch_step(static_cast<long>(done + 1));
    const auto start = Clock::now();
    const StepResult result = step(done);
    ++done;
    MetricsRow row = row_of(done, result, seconds_since(start));
    const bool stop = should_stop();
    const bool saves = stop || done == total_steps_ || done % save_every_ == 0;
    if (saves && valid_) row.valid_loss = held_out_loss(model_, *valid_, mesh_, config_.train.micro_batch_tokens);
    if (is_rank_0) {
      metrics->append(row);
      events->add_scalar("loss", done, row.loss);
      events->add_scalar("grad_norm", done, row.grad_norm);
      events->add_scalar("lr", done, row.lr);
      events->add_scalar("tokens_per_second", done, row.tokens_per_second);
      if (row.valid_loss) events->add_scalar("valid_loss", done, *row.valid_loss);
      events->flush();
    }
    console.show(row);
    if (saves) {
      console.pause();
      if (row.valid_loss) spdlog::info("held-out loss after step {}: {:.4f}", done, *row.valid_loss);
      save(done);
    }
    if (stop && done < total_steps_) {
      spdlog::info("stopped on request after step {} of {}; start the same command again to go on", done, total_steps_);
      return ExitStatus::kStopped;
    }
  }
  return ExitStatus::kDone;
}

void Trainer::prepare_run_folder() {
  const fs::path stored = config_.run.dir / "config.yaml";
  std::error_code error;
  fs::create_directories(config_.run.dir, error);
  if (error) throw BadInput(fmt::format("run.dir {} cannot be made: {}", config_.run.dir.string(), error.message()));
  if (fs::exists(stored)) {
    const std::vector<std::string> changed = differences(load_run_config(stored, {}), config_);
    if (!changed.empty())
      throw BadInput(fmt::format("{} holds a run with another configuration; choose another run.dir, or the same values:\n  {}",
                                 config_.run.dir.string(), fmt::join(changed, "\n  ")));
  }
  // A request left from the last time must not stop this one.
  fs::remove(config_.run.dir / "STOP", error);
}

int64_t Trainer::load() {
  const at::ScalarType dtype = scalar_type(config_.model.dtype, runtime_.device());
  // Slices of equal length over dp, each beginning on a full cache line.
  constexpr int64_t kSliceMultiple = 64;
  model_.allocate(*mesh_.tp, {dtype, true, mesh_.dp->size() * kSliceMultiple, config_.model.recompute});
  optimizer_ = std::make_unique<ZeroAdamW>(model_.parameters().values(), model_.parameters().grads(),
                                           segments_of(model_.parameters(), mesh_.tp->size()), config_.optimizer, *mesh_.dp, mesh_.world);
  const std::optional<int64_t> newest = checkpoints_.newest();
  if (newest && config_.checkpoint.resume == Resume::kNever)
    throw BadInput(fmt::format("{} has a checkpoint and checkpoint.resume is never; choose another run.dir",
                               checkpoints_.path(*newest).string()));
  if (!newest) {
    if (config_.model.init == Init::kRandom)
      init_random(model_, config_.run.seed);
    else
      load_pretrained(model_, config_.model.path);
    optimizer_->reset_master();
    return 0;
  }
  checkpoints_.verify(*newest);
  const fs::path folder = checkpoints_.path(*newest);
  load_pretrained(model_, folder / "hf");
  if (*newest < total_steps_) {
    load_optimizer_state(folder / "optimizer", model_.parameters(), *optimizer_);
    optimizer_->restored(*newest);
    spdlog::info("resuming after step {} of {} from {}", *newest, total_steps_, folder.string());
  }
  return *newest;
}

Trainer::StepResult Trainer::step(int64_t step) {
  StepResult result;
  const auto start = Clock::now();
  const std::vector<Batch> batches = load_batches(step);  // 1 take the rows
  result.data_seconds = seconds_since(start);
  at::Tensor counts = at::zeros({2}, at::kLong);
  for (const Batch& batch : batches) {
    counts[0] += trained_tokens(batch);
    counts[1] += batch.ids.numel();
  }
  counts = counts.to(runtime_.device());
  mesh_.dp->all_reduce(counts);  // 2 count trained tokens over dp
  counts = counts.cpu();
  result.trained_tokens = counts[0].item<int64_t>();
  result.tokens = counts[1].item<int64_t>();
  if (result.trained_tokens == 0)
    throw BadInput(fmt::format("step {}: no trained token is left in its {} examples; raise data.max_tokens", step + 1,
                               config_.train.batch_examples));

  const double scale = 1.0 / static_cast<double>(result.trained_tokens);
  at::Tensor loss = at::zeros({}, at::TensorOptions(runtime_.device()).dtype(at::kDouble));
  for (const Batch& batch : batches) {  // 3 forward and backward
    if (trained_tokens(batch) == 0) continue;
    const at::Tensor sum = model_.loss_sum(batch, scale);
    backward(sum, scale);
    loss += sum.detach();
  }
  mesh_.dp->all_reduce(loss);
  const double lr = learning_rate(config_.schedule, config_.optimizer.lr, step, total_steps_);
  result.grad_norm = optimizer_->step(lr).item<double>();  // 4 update
  result.loss = loss.item<double>() * scale;
  if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm))
    throw Failure(fmt::format("step {}: loss {} and gradient norm {} are not finite; the last checkpoint is unharmed; lower optimizer.lr ({})",
                              step + 1, result.loss, result.grad_norm, config_.optimizer.lr));
  return result;
}

std::vector<Batch> Trainer::load_batches(int64_t step) const {
  const auto mine = rows_for_rank(rows_for_step(step, sampler_), train_->lengths(), mesh_.place.dp_rank, mesh_.dp->size());
  std::vector<Batch> batches;
  for (const auto& rows : micro_batches(mine, train_->lengths(), config_.train.micro_batch_tokens, config_.data.packing))
    batches.push_back(train_->batch(rows));
  return batches;
}

void Trainer::save(int64_t step) {
  const auto start = Clock::now();
  watch_collectives(config_.run.io_timeout_s, runtime_.rank(), runtime_.hosts()[static_cast<size_t>(runtime_.rank())]);
  const bool with_optimizer = step < total_steps_ || config_.checkpoint.final_optimizer;
  checkpoints_.save(step, [&](const fs::path& partial) {
    if (mesh_.place.dp_rank == 0) save_weights(partial / "hf", model_, *mesh_.tp);
    if (with_optimizer)
      save_optimizer_state(partial / "optimizer", model_.parameters(), *optimizer_, mesh_.place.dp_rank, mesh_.place.tp_rank);
    if (runtime_.rank() == 0)
      save_model_files(partial / "hf", config_.model.path, model_.parameters().values().scalar_type(), *tokenizer_, *template_,
                       {train_->info().arm == "role" ? Arm::kRole : Arm::kPlain, train_->info().template_text,
                        train_->info().content_sha256, step});
  });
  checkpoints_.prune(config_.checkpoint.keep);
  watch_collectives(config_.run.collective_timeout_s, runtime_.rank(), runtime_.hosts()[static_cast<size_t>(runtime_.rank())]);
  spdlog::info("saved {} in {:.1f} s", checkpoints_.path(step).string(), seconds_since(start));
}

bool Trainer::should_stop() {
  const bool asked = stop_requested() || (runtime_.rank() == 0 && fs::exists(config_.run.dir / "STOP"));
  at::Tensor any = at::full({}, int64_t{asked}, at::kLong);
  runtime_.host_world().all_reduce(any, Reduce::kMax);
  return any.item<int64_t>() != 0;
}

void Trainer::show_samples() const {
  for (int64_t row = 0; row < std::min<int64_t>(2, train_->size()); ++row) {
    const std::vector<int64_t> rows{row};
    const Batch batch = train_->batch(rows);
    std::string text;
    bool inside = false;
    for (int64_t i = 0; i < batch.ids.size(0); ++i) {
      // The label of a position is the token after it.
      const bool trained = i > 0 && batch.labels[i - 1].item<int64_t>() >= 0;
      if (trained != inside) text += trained ? "⟦" : "⟧";
      inside = trained;
      text += tokenizer_->piece(static_cast<int32_t>(batch.ids[i].item<int64_t>()));
    }
    spdlog::info("example {} ({} tokens; what is trained stands in ⟦ ⟧): {}{}", train_->id(row), batch.ids.size(0), text, inside ? "⟧" : "");
  }
}

MetricsRow Trainer::row_of(int64_t step, const StepResult& result, double seconds) const {
  MetricsRow row;
  row.step = step;
  row.epoch = (step - 1) / steps_per_epoch(sampler_) + 1;
  row.loss = result.loss;
  row.grad_norm = result.grad_norm;
  row.lr = learning_rate(config_.schedule, config_.optimizer.lr, step - 1, total_steps_);
  row.trained_tokens = result.trained_tokens;
  row.tokens = result.tokens;
  row.seconds = seconds;
  row.data_seconds = result.data_seconds;
  row.tokens_per_second = static_cast<double>(result.tokens) / seconds;
  at::Tensor memory = at::full({}, peak_memory_bytes(runtime_.device()), at::kLong);
  runtime_.host_world().all_reduce(memory, Reduce::kMax);
  row.memory_bytes = memory.item<int64_t>();
  return row;
}

}  // namespace spt
