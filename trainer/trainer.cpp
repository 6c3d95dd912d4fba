#include "trainer/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include "base/add_seconds.h"
#include "base/log.h"
#include "base/stop.h"
#include "data/safetensors.h"
#include "dist/cuda_device.h"
#include "dist/exact_sum.h"
#include "dist/watchdog.h"
#include "trainer/console.h"
#include "trainer/eval/perplexity.h"
#include "trainer/hf_folder.h"
#include "trainer/manifest.h"
#include "trainer/model/pretrained.h"
#include "trainer/optimizer_state.h"
#include "trainer/reproducible.h"
#include "trainer/same_view.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

int64_t peak_memory_bytes(at::Device device) {
  if (device.is_cuda()) return cuda_peak_memory_bytes(device.index());
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

uintmax_t stored_bytes(const fs::path& folder) {
  uintmax_t bytes = 0;
  const SafetensorsReader reader(folder);
  for (const fs::path& file : reader.files()) bytes += fs::file_size(file);
  return bytes;
}

// With dtype as it is on this device, so that a run is not resumed with another one unnoticed.
RunConfig resolved(RunConfig config, at::Device device) {
  config.model.dtype = scalar_type(config.model.dtype, device) == at::kFloat ? Dtype::kFp32 : Dtype::kBf16;
  return config;
}

std::string describe(const RunConfig& config, const RunInputs& inputs, const CausalLm& model) {
  return fmt::format(
      "model {}: {} parameters, {}\n"
      "corpus {}: arm {}, {} examples, {} steps an epoch of {} examples, {} steps in all, checkpoint every {}",
      config.model.path.string(), model.global_parameters(),
      config.model.init == Init::kRandom ? "random weights" : "pretrained", config.data.train.string(),
      inputs.train->info().arm, inputs.train->size(), steps_per_epoch(inputs.sampler), config.train.batch_examples,
      inputs.total_steps, inputs.save_every);
}

// Collective: the checkpoint that a run goes on from, none for a new run. Throws BadInput where it must not.
std::optional<int64_t> resume_point(const RunConfig& config, const CheckpointStore& checkpoints) {
  const std::optional<int64_t> newest = checkpoints.newest();
  if (newest && config.checkpoint.resume == Resume::kNever)
    throw BadInput(fmt::format("{} has a checkpoint and checkpoint.resume is never; choose another run.dir",
                               checkpoints.path(*newest).string()));
  return newest;
}

std::string describe_start(std::optional<int64_t> checkpoint, int64_t total_steps, const fs::path& run) {
  if (!checkpoint) return "starts at step 1";
  if (*checkpoint < total_steps)
    return fmt::format("goes on after step {} of {} in {}", *checkpoint, total_steps, run.string());
  return fmt::format("{} is finished: {} of {} steps", run.string(), *checkpoint, total_steps);
}

}  // namespace

std::string check_run(const RunConfig& config, Runtime& runtime) {
  const auto start = [&](int64_t total_steps) {
    const CheckpointStore checkpoints(config.run.dir / "checkpoints", runtime.host_world());
    return describe_start(resume_point(config, checkpoints), total_steps, config.run.dir);
  };
  if (runtime.size() > 1) {
    Trainer trainer(config, runtime, {});
    return trainer.summary() + "\n" + trainer.read_weights() + start(trainer.total_steps());
  }
  const RunInputs inputs = load_run_inputs(resolved(config, runtime.device()), runtime);
  const CausalLm model(inputs.model, 0, config.mesh.tp);
  if (config.model.init == Init::kPretrained) check_pretrained(model, config.model.path);
  return fmt::format(
      "tp {}, checked alone: not mesh.backend, nor that all hosts see the same files, nor the weights' values (the "
      "same "
      "command under mpirun does); the number of ranks must be a multiple of tp\n{}\n{}",
      config.mesh.tp, describe(config, inputs, model), start(inputs.total_steps));
}

Trainer::Trainer(RunConfig config, Runtime& runtime, std::vector<std::string> command_line)
    : config_(resolved(std::move(config), runtime.device())),
      runtime_(runtime),
      command_line_(std::move(command_line)),
      inputs_(load_run_inputs(config_, runtime)),
      mesh_(runtime, config_.mesh),
      checkpoints_(config_.run.dir / "checkpoints", runtime.host_world()),
      model_(inputs_.model, mesh_.place.tp_rank, mesh_.tp->size()) {
  if (config_.run.reproducible) make_products_reproducible();
  if (config_.model.init == Init::kPretrained && runtime.rank() == 0) check_pretrained(model_, config_.model.path);
}

std::string Trainer::summary() const {
  return fmt::format("{} ranks: dp {} × tp {}, device {}, {} threads a rank\n{}\n{}", runtime_.size(), mesh_.dp->size(),
                     mesh_.tp->size(), runtime_.device().str(), at::get_num_threads(), mesh_.overview(),
                     describe(config_, inputs_, model_));
}

std::string Trainer::read_weights() {
  if (config_.model.init != Init::kPretrained) return "";
  watch_files(config_.run);
  model_.allocate(*mesh_.tp, {.parameters = {.dtype = scalar_type(config_.model.dtype, runtime_.device())}});
  runtime_.host_world().barrier();
  const auto begin = Clock::now();
  load_pretrained(model_, config_.model.path, *mesh_.dp);
  runtime_.host_world().barrier();
  const double seconds = seconds_since(begin), gigabytes = 1e-9 * static_cast<double>(stored_bytes(config_.model.path));
  return fmt::format("weights: {:.2f} GB read in {:.1f} s, {:.2f} GB/s\n", gigabytes, seconds, gigabytes / seconds);
}

ExitStatus Trainer::run() {
  watch_files(config_.run);
  if (runtime_.rank() == 0) {
    lock_ = take_run_folder();
    log_to_file(config_.run.dir / "log.txt");
    spdlog::info("{}", summary());
  }
  runtime_.host_world().barrier();
  check_same_view(runtime_, {{fmt::format("run folder {}", config_.run.dir.string()),
                              hash_file_ends(config_.run.dir / "run.lock")}});

  if (config_.run.reproducible) require_one_kind_of_machine(runtime_, config_.run.dir);
  std::optional<int64_t> checkpoint = resume_point(config_, checkpoints_);
  if (checkpoint) checkpoint = checkpoints_.newest_whole();
  int64_t done = checkpoint.value_or(0);
  if (checkpoint) {
    require_same_inputs(checkpoints_.path(done) / "hf");
    checkpoints_.prune(config_.checkpoint.keep);  // a run may have been killed while it did
  }
  if (done >= inputs_.total_steps) {
    spdlog::info("{}", describe_start(done, inputs_.total_steps, config_.run.dir));
    return ExitStatus::kDone;
  }
  if (runtime_.rank() == 0 && config_.model.init == Init::kPretrained) {
    std::packaged_task<std::string(std::stop_token)> hash(
        [folder = config_.model.path](const std::stop_token& stop) { return weights_sha256(folder, stop); });
    weights_hash_ = hash.get_future();
    hashing_ = std::jthread(std::move(hash));
  }
  load(checkpoint);
  open_records(done);

  rows_ = std::make_unique<ReadAhead<std::vector<Batch>>>([this](int64_t step) { return load_batches(step); },
                                                          inputs_.total_steps);
  Console console(done, inputs_.total_steps, config_.run.log_every, runtime_.rank() == 0);
  watch_computing(config_.run);
  while (done < inputs_.total_steps) {
    watch_step(static_cast<long>(done + 1));
    MetricsRow row = step(done);
    ++done;
    const StepEnd end = agree();
    bool stop = end.stop;
    if (end.written) {
      console.pause();
      saver_->finish(false);
    }
    const bool saves = stop || done == inputs_.total_steps || done % inputs_.save_every == 0;
    if (saves) optimizer_->finish_gathering();
    if (saves && inputs_.valid)
      row.valid_loss = held_out_loss(model_, *inputs_.valid, mesh_, config_.train.micro_batch_tokens);
    if (records_) records_->append(row);
    console.show(row);
    if (saves) {
      console.pause();
      if (row.valid_loss) spdlog::info("held-out loss after step {}: {:.4f}", done, *row.valid_loss);
      if (lock_) lock_->require_held();
      const bool saved = saver_->save(done, stop || done == inputs_.total_steps);
      if (saved && !stop) stop = agree().stop;  // asked for while saving: one save is enough
      if (stop) saver_->finish(true);
    }
    if (stop && done < inputs_.total_steps) {
      spdlog::info("stopped on request after step {} of {}; start the same command again to go on", done,
                   inputs_.total_steps);
      if (runtime_.rank() == 0) remove_stop_file(config_.run.dir);
      return ExitStatus::kStopped;
    }
  }
  return ExitStatus::kDone;
}

std::unique_ptr<RunLock> Trainer::take_run_folder() const {
  std::error_code error;
  fs::create_directories(config_.run.dir, error);
  if (error) throw BadInput(fmt::format("run.dir {} cannot be made: {}", config_.run.dir.string(), error.message()));
  auto lock = std::make_unique<RunLock>(config_.run.dir);
  check_run_folder(config_);  // again: another run may have written it since
  remove_stop_file(config_.run.dir);
  return lock;
}

void Trainer::require_same_inputs(const fs::path& hf) const {
  const std::optional<SptJson> spt = load_spt_json(hf);
  const std::string& corpus = inputs_.train->info().content_sha256;
  if (!spt || spt->corpus_sha256 != corpus)
    throw BadInput(
        fmt::format("{} was trained on a corpus with content_sha256 {}, data.train ({}) has {}; choose "
                    "another run.dir, or restore the corpus",
                    hf.string(), spt ? spt->corpus_sha256 : "(no spt.json)", config_.data.train.string(), corpus));
  if (load_model_config(hf) != inputs_.model)
    throw BadInput(fmt::format("{} and {} describe different models; choose another run.dir, or restore model.path",
                               (hf / "config.json").string(), (config_.model.path / "config.json").string()));
}

void Trainer::load(std::optional<int64_t> checkpoint) {
  model_.allocate(*mesh_.tp, model_memory(config_, scalar_type(config_.model.dtype, runtime_.device()),
                                          mesh_.dp->size(), mesh_.overlap));
  gradients_ = std::make_unique<Gradients>(model_.parameters(), *mesh_.dp, mesh_.overlap, config_.run.reproducible);
  if (shards_gradients(config_, mesh_.dp->size()) || mesh_.overlap)
    model_.on_bucket_complete([this](size_t bucket) { gradients_->bucket_complete(bucket); });
  optimizer_ = make_optimizer(model_.parameters(), config_.optimizer, mesh_, config_.run.reproducible);
  if (mesh_.overlap) model_.on_bucket_needed([this](size_t bucket) { optimizer_->finish_gathering(bucket); });
  saver_.emplace(Saver::Run{config_, inputs_, runtime_, mesh_, checkpoints_, model_, *optimizer_});
  if (!checkpoint) {
    if (config_.model.init == Init::kRandom)
      init_random(model_, config_.run.seed);
    else
      load_pretrained(model_, config_.model.path, *mesh_.dp);
    optimizer_->reset_master();
    return;
  }
  const fs::path folder = checkpoints_.path(*checkpoint);
  load_pretrained(model_, folder / "hf", *mesh_.dp);
  load_optimizer_state(folder / "optimizer", model_.parameters(), *optimizer_, mesh_.place.dp_rank,
                       mesh_.place.tp_rank);
  optimizer_->restored(*checkpoint);
  spdlog::info("resuming after step {} of {} from {}", *checkpoint, inputs_.total_steps, folder.string());
}

void Trainer::open_records(int64_t done) {
  const nlohmann::json manifest = make_manifest(
      runtime_, config_,
      {inputs_.train->info().content_sha256, inputs_.valid ? inputs_.valid->info().content_sha256 : std::string(),
       weights_hash_.valid() ? weights_hash_.get() : std::string(), model_config_sha256(config_.model.path),
       inputs_.total_steps, command_line_});
  if (runtime_.rank() != 0) return;
  records_.emplace(config_, manifest, done);
  for (int64_t row = 0; row < std::min<int64_t>(2, inputs_.train->size()); ++row)
    spdlog::info("{}", describe_example(*inputs_.train, row, *inputs_.tokenizer));
}

MetricsRow Trainer::step(int64_t step) {
  MetricsRow row;
  row.step = step + 1;
  row.epoch = step / steps_per_epoch(inputs_.sampler) + 1;
  const auto start = Clock::now();
  const double communicated = communication_seconds();
  const std::vector<Batch> batches = rows_->take(step);  // 1 take the rows
  row.data_seconds = seconds_since(start);
  int64_t trained = 0, tokens = 0;
  for (const Batch& batch : batches) {
    trained += batch.trained_tokens();
    tokens += batch.ids.numel();
  }
  at::Tensor sums = at::tensor({trained, tokens}, at::kLong).to(runtime_.device());
  mesh_.dp->all_reduce(sums);  // 2 count trained tokens over dp
  sums = sums.cpu();
  row.trained_tokens = sums[0].item<int64_t>();
  row.tokens = sums[1].item<int64_t>();

  // Where each pass is reduced, a rank with fewer passes takes part in the others' reductions.
  const auto passes = static_cast<int64_t>(batches.size());
  int64_t most_passes = passes;
  if (shards_gradients(config_, mesh_.dp->size())) {
    const at::Tensor most = at::full({}, passes, at::TensorOptions(at::kLong).device(runtime_.device()));
    mesh_.dp->all_reduce(most, Reduce::kMax);
    most_passes = most.item<int64_t>();
  }

  const double scale = 1.0 / static_cast<double>(row.trained_tokens);
  at::Tensor loss = at::zeros({}, at::TensorOptions(runtime_.device()).dtype(at::kDouble));
  ExactSum exact_loss;
  for (const Batch& batch : batches) {  // 3 forward and backward
    if (batch.trained_tokens() == 0) {
      gradients_->skip_pass();
      continue;
    }
    gradients_->begin_pass(&batch == &batches.back());
    const at::Tensor sum = model_.loss_sum(batch, scale);
    backward(sum, scale);
    loss += sum.detach();
    exact_loss.add(config_.run.reproducible ? sum.item<double>() : 0);
    gradients_->end_pass();
  }
  for (int64_t pass = passes; pass < most_passes; ++pass) gradients_->skip_pass();
  gradients_->finish();
  if (config_.run.reproducible) {
    const at::Tensor limbs = exact_loss.limbs();
    mesh_.dp->all_reduce(limbs);
    loss.fill_(ExactSum::of(limbs));
  } else {
    mesh_.dp->all_reduce(loss);
  }
  row.lr = learning_rate(config_.schedule, config_.optimizer.lr, step, inputs_.total_steps);
  row.grad_norm = optimizer_->step(row.lr, gradients_->owned()).item<double>();  // 4 update
  if (!mesh_.overlap) optimizer_->finish_gathering();
  gradients_->clear();
  row.loss = loss.item<double>() * scale;
  if (!std::isfinite(row.loss) || !std::isfinite(row.grad_norm)) {
    saver_->finish(false);
    throw Failure(fmt::format(
        "step {}: loss {} and gradient norm {} are not finite; checkpoints saved before it are unharmed; start "
        "with another run.dir and an optimizer.lr below {}",
        row.step, row.loss, row.grad_norm, config_.optimizer.lr));
  }

  row.seconds = seconds_since(start);
  if (runtime_.device().is_cpu()) {
    const at::Tensor seconds = at::full({}, communication_seconds() - communicated, at::kDouble);
    runtime_.host_world().all_reduce(seconds);
    row.comm_exposed_seconds = seconds.item<double>() / runtime_.size();
  }
  row.tokens_per_second = static_cast<double>(row.tokens) / row.seconds;
  const at::Tensor memory = at::full({}, peak_memory_bytes(runtime_.device()), at::kLong);
  runtime_.host_world().all_reduce(memory, Reduce::kMax);
  row.memory_bytes = memory.item<int64_t>();
  return row;
}

double Trainer::communication_seconds() const {
  return mesh_.dp->seconds() + mesh_.tp->seconds() + mesh_.world.seconds();
}

std::vector<Batch> Trainer::load_batches(int64_t step) const {
  const auto dealt = deal_micro_batches(rows_for_step(step, inputs_.sampler), inputs_.train->lengths(),
                                        mesh_.dp->size(), packing_of(config_));
  std::vector<Batch> batches;
  for (const auto& rows : dealt[static_cast<size_t>(mesh_.place.dp_rank)])
    batches.push_back(inputs_.train->batch(rows));
  return batches;
}

Trainer::StepEnd Trainer::agree() {
  if (lock_) lock_->require_held();
  const bool asked = stop_requested() || (runtime_.rank() == 0 && stop_file_in(config_.run.dir));
  at::Tensor any = at::tensor({int64_t{asked}, int64_t{saver_->is_writing()}}, at::kLong);
  runtime_.host_world().all_reduce(any, Reduce::kMax);
  return {any[0].item<int64_t>() != 0, saver_->is_under_way() && any[1].item<int64_t>() == 0};
}

}  // namespace spt
