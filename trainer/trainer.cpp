#include "trainer/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include <ATen/Parallel.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
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
#include "trainer/model_flops.h"
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

  const auto load_rows = [this](int64_t step) {
    return load_step_rows(step, config_, *inputs_.train, inputs_.sampler, mesh_.place.dp_rank, mesh_.dp->size());
  };
  if (config_.model.attention == AttentionWay::kAuto && runtime_.device().is_cuda())
    choose_attention(load_rows(done).batches);
  rows_ = std::make_unique<ReadAhead<StepRows>>(load_rows, inputs_.total_steps);
  if (runtime_.device().is_cuda() && config_.model.dtype == Dtype::kBf16)
    peak_flops_ = peak_bf16_flops(cuda_device_name(runtime_.device().index()));
  bad_steps_.emplace(config_.train.max_bad_steps, runtime_, *inputs_.train);
  Console console(done, inputs_.total_steps, config_.run.log_every, runtime_.rank() == 0);
  watch_computing(config_.run);
  std::optional<Step> under_way;  // on a GPU: the step before is completed while its device computes the next
  while (done < inputs_.total_steps) {
    watch_step(static_cast<long>(done + 1));
    Step next = step(done);
    const StepEnd end = agree(next.is_abandoned);
    bool stop = end.stop;
    if (under_way) report(complete(*std::exchange(under_way, std::nullopt)), console);
    if (end.abandoned) break;
    ++done;
    std::optional<MetricsRow> row;
    if (runtime_.device().is_cpu())
      row = complete(std::move(next));
    else
      under_way = std::move(next);
    if (end.written) {
      console.pause();
      saver_->finish(false);
    }
    const bool saves = stop || done == inputs_.total_steps || done % inputs_.save_every == 0;
    if (saves) optimizer_->finish_gathering();
    if (saves && under_way) row = complete(*std::exchange(under_way, std::nullopt));
    if (saves && inputs_.valid)
      row->valid_loss =
          held_out_loss(model_, *inputs_.valid, mesh_, config_.train.micro_batch_tokens, [this] { return stops(); });
    if (row) report(*row, console);
    if (saves) {
      console.pause();
      if (row->valid_loss) spdlog::info("held-out loss after step {}: {:.4f}", done, *row->valid_loss);
      if (lock_) lock_->require_held();
      const bool saved = saver_->save(done, stop || done == inputs_.total_steps);
      if (saved && !stop) stop = agree(false).stop;  // asked for while saving: one save is enough
    }
    if (stop) break;
  }
  if (done == inputs_.total_steps) return ExitStatus::kDone;
  stop_after(done);
  return ExitStatus::kStopped;
}

void Trainer::stop_after(int64_t done) {
  optimizer_->finish_gathering();
  if (lock_) lock_->require_held();
  saver_->finish(false);
  if (done > 0) saver_->save(done, true);  // nothing where it is there
  spdlog::info("stopped on request after step {} of {}; start the same command again to go on", done,
               inputs_.total_steps);
  if (runtime_.rank() == 0) remove_stop_file(config_.run.dir);
}

bool Trainer::stops() {
  const bool asked = runtime_.hears_stop(stop_requested() || (runtime_.rank() == 0 && stop_file_in(config_.run.dir)));
  if (mesh_.host_tp->size() == 1) return asked;
  const at::Tensor any = at::full({}, int64_t{asked}, at::kLong);
  mesh_.host_tp->all_reduce(any, Reduce::kMax);
  return any.item<int64_t>() != 0;
}

std::unique_ptr<RunLock> Trainer::take_run_folder() const {
  std::error_code error;
  fs::create_directories(config_.run.dir, error);
  if (error) throw BadInput(fmt::format("run.dir {} cannot be made: {}", config_.run.dir.string(), error.message()));
  auto lock = std::make_unique<RunLock>(config_.run.dir);
  check_run_folder(config_);  // again: another run may have written it since
  if (stop_file_in(config_.run.dir))
    spdlog::info("{} is from before this start: removed", (config_.run.dir / "STOP").string());
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
  if (config_.model.attention != AttentionWay::kAuto) model_.set_attention(config_.model.attention);
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

void Trainer::choose_attention(const std::vector<Batch>& batches) {
  std::optional<WaysCompared> compared;
  if (!batches.empty()) compared = model_.compare_attention(batches.front().starts);
  const bool objects = !batches.empty() && !(compared && compared->prefers_cudnn());
  const at::Tensor any = at::full({}, int64_t{objects}, at::kLong);
  runtime_.host_world().all_reduce(any, Reduce::kMax);
  const bool is_cudnn = any.item<int64_t>() == 0;
  if (is_cudnn) model_.set_attention(AttentionWay::kCudnn);
  if (compared)
    spdlog::info("attention: {}{}", compared->describe(),
                 compared->prefers_cudnn() && !is_cudnn ? "; flash all the same, since not every rank finds so" : "");
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

// Waits for no GPU.
Trainer::Step Trainer::step(int64_t step) {
  const auto start = Clock::now();
  const double communicated = communication_seconds();
  StepRows rows = rows_->take(step);  // 1 take the rows
  MetricsRow row;
  row.step = step + 1;
  row.epoch = step / steps_per_epoch(inputs_.sampler) + 1;
  row.data_seconds = seconds_since(start);
  row.tokens = rows.tokens;
  const at::Tensor trained = at::full({}, rows.trained_tokens(), at::kLong);
  runtime_.host_world().all_reduce(trained);  // 2 count trained tokens over dp: every tp rank counts the same
  row.trained_tokens = trained.item<int64_t>() / mesh_.tp->size();

  const double scale = 1.0 / static_cast<double>(row.trained_tokens);
  const at::Tensor zero = at::zeros({}, at::TensorOptions(runtime_.device()).dtype(at::kDouble));
  at::Tensor loss = zero.clone();
  ExactSum exact_loss;
  std::vector<at::Tensor> losses;
  bool is_abandoned = false;
  for (const Batch& batch : rows.batches) {  // 3 forward and backward
    is_abandoned = is_abandoned || stops();
    if (is_abandoned || batch.trained_tokens() == 0) {
      gradients_->skip_pass();
      losses.push_back(zero);
      continue;
    }
    gradients_->begin_pass(&batch == &rows.batches.back());
    const at::Tensor sum = model_.loss_sum(batch, scale);
    backward(sum, scale);
    losses.push_back(sum.detach());
    loss += losses.back();
    exact_loss.add(config_.run.reproducible ? losses.back().item<double>() : 0);
    gradients_->end_pass();
  }
  // Where each pass is reduced, a rank with fewer passes takes part in the others' reductions.
  if (shards_gradients(config_, mesh_.dp->size()))
    for (auto pass = static_cast<int64_t>(rows.batches.size()); pass < rows.most_passes; ++pass)
      gradients_->skip_pass();
  // The embedding's are not reduced yet: they show whether this rank's are finite.
  const auto [least, greatest] = at::aminmax(model_.parameters().grads(0));
  losses.insert(losses.begin(), {least.to(at::kDouble), greatest.to(at::kDouble)});
  gradients_->finish();
  if (is_abandoned) {  // the optimizer leaves such a step out, on all ranks
    loss.fill_(NAN);
    exact_loss.add(NAN);
  }
  if (config_.run.reproducible) {
    const at::Tensor limbs = exact_loss.limbs();
    mesh_.dp->all_reduce(limbs);
    loss.fill_(ExactSum::of(limbs));
  } else {
    mesh_.dp->all_reduce(loss);
  }
  row.lr = learning_rate(config_.schedule, config_.optimizer.lr, step, inputs_.total_steps);
  const at::Tensor norm = optimizer_->step(row.lr, gradients_->owned(), loss);  // 4 update
  if (!mesh_.overlap) optimizer_->finish_gathering();
  gradients_->clear();
  losses.insert(losses.begin(), {loss, norm});
  return {start,       communicated, row, std::move(rows.rows), rows.mean_length, LateNumbers(at::stack(losses)),
          is_abandoned};
}

MetricsRow Trainer::complete(Step step) {
  MetricsRow& row = step.row;
  const std::vector<double> numbers = step.numbers.read();
  row.loss = numbers[0] * (1.0 / static_cast<double>(row.trained_tokens));
  row.grad_norm = numbers[1];
  // On a GPU the next step begins before this one is done: each has its share of the time.
  row.seconds = seconds_since(std::max(step.start, completed_));
  completed_ = Clock::now();
  row.tokens_per_second = static_cast<double>(row.tokens) / row.seconds;
  Communicator& hosts = runtime_.host_world();
  const at::Device device = runtime_.device();
  if (device.is_cpu()) {
    const at::Tensor seconds = at::full({}, communication_seconds() - step.communicated, at::kDouble);
    hosts.all_reduce(seconds);
    row.comm_exposed_seconds = seconds.item<double>() / runtime_.size();
  }
  const at::Tensor most =
      at::tensor({peak_memory_bytes(device), device.is_cpu() ? 0 : cuda_allocations(device.index())}, at::kLong);
  hosts.all_reduce(most, Reduce::kMax);
  row.memory_bytes = most[0].item<int64_t>();
  if (device.is_cuda()) {
    row.device_allocations = most[1].item<int64_t>();
    if (peak_flops_)
      row.mfu = model_flops_per_token(inputs_.model, model_.global_parameters(), step.mean_length) *
                row.tokens_per_second / runtime_.size() / *peak_flops_;
  }
  bad_steps_->see(row, {std::move(step.rows),
                        {numbers.begin() + 4, numbers.end()},
                        std::isfinite(numbers[2]) && std::isfinite(numbers[3]),
                        mesh_.place.tp_rank == 0});
  return row;
}

void Trainer::report(const MetricsRow& row, Console& console) {
  if (records_) records_->append(row);
  console.show(row);
  if (!bad_steps_->are_too_many()) return;
  console.pause();
  saver_->finish(false);
  throw Failure(bad_steps_->advice(row, config_.optimizer.lr));
}

double Trainer::communication_seconds() const {
  return mesh_.dp->seconds() + mesh_.tp->seconds() + mesh_.world.seconds() + runtime_.host_world().seconds();
}

Trainer::StepEnd Trainer::agree(bool is_abandoned) {
  if (lock_) lock_->require_held();
  at::Tensor any = at::tensor({int64_t{stops()}, int64_t{saver_->is_writing()}, int64_t{is_abandoned}}, at::kLong);
  runtime_.host_world().all_reduce(any, Reduce::kMax);
  return {any[0].item<int64_t>() != 0, saver_->is_under_way() && any[1].item<int64_t>() == 0,
          any[2].item<int64_t>() != 0};
}

}  // namespace spt
