#include "trainer/trainer.h"

#include <chrono>
#include <cmath>
#include <fstream>

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include "base/durable.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/stop.h"
#include "dist/cuda_device.h"
#include "dist/text.h"
#include "dist/watchdog.h"
#include "trainer/console.h"
#include "trainer/eval/perplexity.h"
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
  if (device.is_cuda()) return cuda_peak_memory_bytes(device.index());
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

}  // namespace

Trainer::Trainer(RunConfig config, Runtime& runtime, std::vector<std::string> command_line)
    : config_(std::move(config)),
      runtime_(runtime),
      command_line_(std::move(command_line)),
      inputs_(load_run_inputs(config_, runtime)),
      mesh_(runtime, config_.mesh),
      checkpoints_(config_.run.dir / "checkpoints", runtime.host_world()),
      model_(inputs_.model, mesh_.place.tp_rank, mesh_.tp->size()) {
  if (config_.model.init == Init::kPretrained) check_pretrained(model_, config_.model.path);
}

std::string Trainer::summary() const {
  return fmt::format(
      "{} ranks: dp {} × tp {}, device {}, {} threads a rank\n{}\n"
      "model {}: {} parameters, {}\n"
      "corpus {}: arm {}, {} examples, {} steps an epoch of {} examples, {} steps in all, checkpoint every {}",
      runtime_.size(), mesh_.dp->size(), mesh_.tp->size(), runtime_.device().str(), at::get_num_threads(),
      mesh_.overview(), config_.model.path.string(), model_.global_parameters(),
      config_.model.init == Init::kRandom ? "random weights" : "pretrained", config_.data.train.string(),
      inputs_.train->info().arm, inputs_.train->size(), steps_per_epoch(inputs_.sampler), config_.train.batch_examples,
      inputs_.total_steps, inputs_.save_every);
}

ExitStatus Trainer::run() {
  const bool is_rank_0 = runtime_.rank() == 0;
  limit_waits(config_.run.io_timeout_s);
  std::unique_ptr<RunLock> lock;
  if (is_rank_0) {
    lock = take_run_folder();
    log_to_file(config_.run.dir / "log.txt");
    spdlog::info("{}", summary());
  }
  runtime_.host_world().barrier();
  check_same_view(runtime_, {{fmt::format("run folder {}", config_.run.dir.string()),
                              hash_file_ends(config_.run.dir / "run.lock")}});

  const int64_t first = load();
  if (first >= inputs_.total_steps) {
    spdlog::info("{} is finished: {} of {} steps", config_.run.dir.string(), first, inputs_.total_steps);
    return ExitStatus::kDone;
  }
  const nlohmann::json manifest = make_manifest(
      runtime_, config_,
      {inputs_.train->info().content_sha256,
       is_rank_0 && config_.model.init == Init::kPretrained ? weights_hash(config_.model.path) : std::string(),
       command_line_});
  std::optional<MetricsWriter> metrics;
  std::optional<EventWriter> events;
  if (is_rank_0) {
    write_durable(config_.run.dir / "config.yaml", dump_fields(config_));
    write_durable(config_.run.dir / "manifest.json", manifest.dump(2) + "\n");
    metrics.emplace(config_.run.dir / "metrics.jsonl", first);
    events.emplace(config_.run.dir / "tensorboard", first);
    show_samples();
  }

  rows_ = std::make_unique<ReadAhead<std::vector<Batch>>>([this](int64_t step) { return load_batches(step); },
                                                          inputs_.total_steps);
  Console console(first, inputs_.total_steps, config_.run.log_every, is_rank_0);
  limit_waits(config_.run.collective_timeout_s);
  for (int64_t done = first; done < inputs_.total_steps;) {
    watch_step(static_cast<long>(done + 1));
    const auto start = Clock::now();
    const StepResult result = step(done);
    ++done;
    MetricsRow row = row_of(done, result, seconds_since(start));
    const bool stop = should_stop();
    const bool saves = stop || done == inputs_.total_steps || done % inputs_.save_every == 0;
    if (saves && inputs_.valid)
      row.valid_loss = held_out_loss(model_, *inputs_.valid, mesh_, config_.train.micro_batch_tokens);
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
    if (stop && done < inputs_.total_steps) {
      spdlog::info("stopped on request after step {} of {}; start the same command again to go on", done,
                   inputs_.total_steps);
      return ExitStatus::kStopped;
    }
  }
  return ExitStatus::kDone;
}

void Trainer::limit_waits(double seconds) const {
  watch_collectives(seconds, runtime_.rank(), runtime_.hosts()[static_cast<size_t>(runtime_.rank())]);
}

std::unique_ptr<RunLock> Trainer::take_run_folder() const {
  std::error_code error;
  fs::create_directories(config_.run.dir, error);
  if (error) throw BadInput(fmt::format("run.dir {} cannot be made: {}", config_.run.dir.string(), error.message()));
  auto lock = std::make_unique<RunLock>(config_.run.dir);
  check_run_folder(config_);  // again: another run may have written it since
  // A request left from the last time must not stop this one.
  fs::remove(config_.run.dir / "STOP", error);
  return lock;
}

int64_t Trainer::load() {
  const at::ScalarType dtype = scalar_type(config_.model.dtype, runtime_.device());
  // Slices of equal length over dp, each beginning on a full cache line.
  constexpr int64_t kSliceMultiple = 64;
  model_.allocate(*mesh_.tp, {dtype, true, mesh_.dp->size() * kSliceMultiple, config_.model.recompute});
  optimizer_ = std::make_unique<ZeroAdamW>(model_.parameters().values(), model_.parameters().grads(),
                                           segments_of(model_.parameters(), mesh_.tp->size()), config_.optimizer,
                                           *mesh_.dp, mesh_.world);
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
  checkpoints_.prune(config_.checkpoint.keep);  // a run may have been killed while it did
  const fs::path folder = checkpoints_.path(*newest);
  load_pretrained(model_, folder / "hf");
  if (*newest < inputs_.total_steps) {
    load_optimizer_state(folder / "optimizer", model_.parameters(), *optimizer_);
    optimizer_->restored(*newest);
    spdlog::info("resuming after step {} of {} from {}", *newest, inputs_.total_steps, folder.string());
  }
  return *newest;
}

Trainer::StepResult Trainer::step(int64_t step) {
  StepResult result;
  const auto start = Clock::now();
  const std::vector<Batch> batches = rows_->take(step);  // 1 take the rows
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
  const double lr = learning_rate(config_.schedule, config_.optimizer.lr, step, inputs_.total_steps);
  result.grad_norm = optimizer_->step(lr).item<double>();  // 4 update
  result.loss = loss.item<double>() * scale;
  if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm))
    throw Failure(fmt::format(
        "step {}: loss {} and gradient norm {} are not finite; checkpoints saved before it are unharmed; start "
        "with another run.dir and an optimizer.lr below {}",
        step + 1, result.loss, result.grad_norm, config_.optimizer.lr));
  return result;
}

std::vector<Batch> Trainer::load_batches(int64_t step) const {
  const auto mine = rows_for_rank(rows_for_step(step, inputs_.sampler), inputs_.train->lengths(), mesh_.place.dp_rank,
                                  mesh_.dp->size());
  std::vector<Batch> batches;
  for (const auto& rows :
       micro_batches(mine, inputs_.train->lengths(), config_.train.micro_batch_tokens, config_.data.packing))
    batches.push_back(inputs_.train->batch(rows));
  return batches;
}

void Trainer::save(int64_t step) {
  const auto start = Clock::now();
  limit_waits(config_.run.io_timeout_s);
  const bool with_optimizer = step < inputs_.total_steps || config_.checkpoint.final_optimizer;
  checkpoints_.save(step, [&](const fs::path& partial) {
    if (mesh_.place.dp_rank == 0) save_weights(partial / "hf", model_, *mesh_.tp);
    if (with_optimizer)
      save_optimizer_state(partial / "optimizer", model_.parameters(), *optimizer_, mesh_.place.dp_rank,
                           mesh_.place.tp_rank);
    if (runtime_.rank() == 0)
      save_model_files(partial / "hf", config_.model.path, model_.parameters().values().scalar_type(),
                       *inputs_.tokenizer, inputs_.chat_template,
                       {inputs_.train->info().arm == "role" ? Arm::kRole : Arm::kPlain,
                        inputs_.train->info().template_text, inputs_.train->info().content_sha256, step});
  });
  checkpoints_.prune(config_.checkpoint.keep);
  limit_waits(config_.run.collective_timeout_s);
  spdlog::info("saved {} in {:.1f} s", checkpoints_.path(step).string(), seconds_since(start));
}

bool Trainer::should_stop() {
  const bool asked = stop_requested() || (runtime_.rank() == 0 && fs::exists(config_.run.dir / "STOP"));
  at::Tensor any = at::full({}, int64_t{asked}, at::kLong);
  runtime_.host_world().all_reduce(any, Reduce::kMax);
  return any.item<int64_t>() != 0;
}

void Trainer::show_samples() const {
  for (int64_t row = 0; row < std::min<int64_t>(2, inputs_.train->size()); ++row) {
    const std::vector<int64_t> rows{row};
    const Batch batch = inputs_.train->batch(rows);
    std::string text;
    bool inside = false;
    for (int64_t i = 0; i < batch.ids.size(0); ++i) {
      // The label of a position is the token after it.
      const bool trained = i > 0 && batch.labels[i - 1].item<int64_t>() >= 0;
      if (trained != inside) text += trained ? "⟦" : "⟧";
      inside = trained;
      text += inputs_.tokenizer->piece(static_cast<int32_t>(batch.ids[i].item<int64_t>()));
    }
    spdlog::info("example {} ({} tokens; what is trained stands in ⟦ ⟧): {}{}", inputs_.train->id(row),
                 batch.ids.size(0), text, inside ? "⟧" : "");
  }
}

MetricsRow Trainer::row_of(int64_t step, const StepResult& result, double seconds) const {
  MetricsRow row;
  row.step = step;
  row.epoch = (step - 1) / steps_per_epoch(inputs_.sampler) + 1;
  row.loss = result.loss;
  row.grad_norm = result.grad_norm;
  row.lr = learning_rate(config_.schedule, config_.optimizer.lr, step - 1, inputs_.total_steps);
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
