#include "trainer/plan.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <fmt/format.h>

#include "base/error.h"
#include "data/sampler.h"
#include "dist/begun.h"
#include "dist/scratch.h"
#include "trainer/gradients.h"
#include "trainer/optimizer_state.h"
#include "trainer/run_inputs.h"

namespace spt {
namespace {

// Steps that are dealt as the run will deal them, and their mean stands for all: so many, and so many examples.
constexpr int64_t kSteps = 50, kExamples = 20'000;

constexpr int64_t kMostExamples = 10'000'000;

double size_of(at::ScalarType dtype) {
  return static_cast<double>(c10::elementSize(dtype));
}

template <class Parts>
auto sum_of(const Parts& parts) {
  decltype(parts[0].second) sum = 0;
  for (const auto& [name, value] : parts) sum += value;
  return sum;
}

// Seconds of collectives in a ring over `ranks`, of which every node has `per_node`.
class Ring {
 public:
  Ring(const Machine& machine, int ranks, int per_node) : ranks_(ranks) {
    const int nodes = (ranks + per_node - 1) / per_node;
    const int between = nodes > 1 ? std::min(nodes, ranks - 1) : 0;  // hops from node to node
    bytes_per_second_ =
        1e9 * (nodes > 1 ? std::min(machine.link_gb_s, machine.network_gb_s * per_node) : machine.link_gb_s);
    hops_seconds_ = 1e-6 * (between * machine.network_us + (ranks - 1 - between) * machine.link_us);
  }
  // A reduce-scatter or an all-gather of so many bytes in all.
  double half(double bytes) const {
    return ranks_ == 1 ? 0 : bytes * (ranks_ - 1) / ranks_ / bytes_per_second_ + hops_seconds_;
  }
  double all_reduce(double bytes) const { return 2 * half(bytes); }
  // What goes on in so many looks (dist/begun.h), as seconds of a transfer.
  double in_looks(int looks) const { return looks * static_cast<double>(kLookBytes) / bytes_per_second_; }

 private:
  int ranks_;
  double bytes_per_second_ = 0, hops_seconds_ = 0;
};

// Seconds spent waiting for transfers of which each goes on beside one block's computing, for `hidden` seconds at most,
// and the last beside nothing: gradients of blocks in a backward pass.
double exposed_behind(const std::vector<double>& transfers, double hidden) {
  double waited = 0;
  for (const double seconds : transfers) waited += std::max(0.0, seconds - hidden);
  return waited + std::min(transfers.back(), hidden);
}

// Of transfers that are all begun, and go on for `hidden` seconds at most beside a block's computing; the first and the
// last are needed in front of something that takes no time: weights of embedding, blocks and head in a forward pass.
double exposed_in_front(const std::vector<double>& transfers, double hidden) {
  double waited = 0, needed = 0, transferred = 0;
  for (size_t i = 0; i < transfers.size(); ++i) {
    needed += transfers[i];
    const double wait = std::max(0.0, needed - transferred);
    waited += wait;
    transferred += wait + (i == 0 ? 0 : hidden);
  }
  return waited;
}

std::vector<std::string> hosts_by_rank(int ranks, const Machine& machine) {
  std::vector<std::string> hosts;
  for (int rank = 0; rank < ranks; ++rank) hosts.push_back(fmt::format("node {}", rank / machine.devices_per_node));
  return hosts;
}

}  // namespace

int64_t PlannedMemory::total() const {
  return sum_of(parts);
}

double PlannedStep::total() const {
  return sum_of(seconds);
}

struct Planner::Run {
  Run(RunConfig run_config, int ranks, const ModelConfig& model_config, const Machine& machine, bool overlaps)
      : config(std::move(run_config)),
        tp(config.mesh.tp),
        dp(ranks / tp),
        device(machine.is_cpu() ? at::kCPU : at::kCUDA),
        dtype(scalar_type(config.model.dtype, device)),
        overlap(overlaps),
        memory(model_memory(config, dtype, dp, overlap)),
        model(model_config, 0, tp),
        lengths(model.parameters().bucket_lengths(memory.parameters.multiple)),
        padded(std::accumulate(lengths.begin(), lengths.end(), int64_t{0})),
        is_offloaded(config.optimizer.offload == Offload::kCpu && !machine.is_cpu()) {}

  RunConfig config;
  int tp, dp;
  at::Device device;
  at::ScalarType dtype;
  bool overlap;
  CausalLm::Memory memory;
  CausalLm model;
  std::vector<int64_t> lengths;  // of the buckets
  int64_t padded;                // all of them
  bool is_offloaded;
  int64_t owned() const { return padded / dp; }
};

Planner::Planner(const RunConfig& config, int ranks, const Machine& machine, std::optional<AssumedCorpus> assumed)
    : config_(config),
      ranks_(ranks),
      machine_(machine),
      assumed_(assumed),
      model_(load_model_config(config.model.path)) {
  if (ranks < 1 || ranks > kMostRanks) throw BadInput(fmt::format("--ranks is {}, must be 1 to {}", ranks, kMostRanks));
  check_mesh(config);
  if (assumed_) {
    const auto limit = [](const char* option, int64_t value, int64_t most) {
      if (value < 1 || value > most) throw BadInput(fmt::format("{} is {}, must be 1 to {}", option, value, most));
    };
    limit("--examples", assumed_->examples, kMostExamples);
    limit("--example-tokens", assumed_->example_tokens, model_.max_positions);
    const int64_t tokens = std::min(assumed_->example_tokens, config.data.max_tokens.value_or(model_.max_positions));
    lengths_.assign(static_cast<size_t>(assumed_->examples), tokens);
  } else {
    try {
      corpus_ = std::make_unique<Dataset>(config.data.train, config.data.max_tokens.value_or(0));
    } catch (const BadInput& error) {
      throw BadInput(fmt::format(
          "data.train: {}; of a corpus that is not there yet, say --examples N and --example-tokens L", error.what()));
    }
    check_corpus(*corpus_, config, model_);
    lengths_ = corpus_->lengths();
  }
  const SamplerConfig sampler{static_cast<int64_t>(lengths_.size()), config.train.batch_examples, config.run.seed};
  steps_ = total_steps(config, sampler);
  save_every_ = save_every(config, sampler);
}

Planner::~Planner() = default;

void Planner::check_mesh(const RunConfig& config) const {
  check_tensor_parallel(model_, config.mesh.tp);
  const auto [entry, is_new] = overlap_.try_emplace(config.mesh.tp, false);
  if (!is_new) return;
  const std::vector<std::string> hosts = hosts_by_rank(ranks_, machine_);
  try {
    entry->second = overlaps(hosts, mesh_places(hosts, config.mesh), config.mesh, device(),
                             !machine_.is_cpu() && config.mesh.backend == Backend::kMpi);
  } catch (...) {
    overlap_.erase(entry);
    throw;
  }
}

Planner::Run Planner::run_of(const RunConfig& config) const {
  return {config, ranks_, model_, machine_, overlap_.at(config.mesh.tp)};
}

int64_t Planner::trained_tokens(int64_t row) const {
  if (!corpus_) return lengths_[static_cast<size_t>(row)];
  int64_t& trained = trained_.try_emplace(row, -1).first->second;
  const std::vector<int64_t> one{row};
  if (trained < 0) trained = corpus_->batch(one).trained_tokens();
  return trained;
}

Planner::Pass Planner::pass_of(const std::vector<int64_t>& rows, const Run& run) const {
  Pass pass;
  std::vector<int64_t> lengths;
  for (const int64_t row : rows) {
    const int64_t length = lengths_[static_cast<size_t>(row)];
    lengths.push_back(length);
    pass.shape.trained += trained_tokens(row);
    pass.shape.tokens += length;
    pass.shape.longest = std::max(pass.shape.longest, length);
    pass.pairs += attention_pairs(model_, run.dtype, run.device, length);
  }
  pass.shape.attended_at_once = attended_at_once(std::move(lengths), machine_.threads);
  return pass;
}

const Planner::Dealt& Planner::dealt(const Run& run) const {
  const int64_t micro_batch = run.config.train.micro_batch_tokens;
  const auto [entry, is_new] = dealt_.try_emplace({run.dp, micro_batch});
  if (!is_new) return entry->second;
  const SamplerConfig sampler{static_cast<int64_t>(lengths_.size()), config_.train.batch_examples, config_.run.seed};
  const int64_t steps = std::min({kSteps, steps_, std::max<int64_t>(1, kExamples / sampler.batch)});
  for (int64_t step = 0; step < steps; ++step) {
    auto& ranks = entry->second.emplace_back();
    for (const auto& mine :
         deal_micro_batches(rows_for_step(step, sampler), lengths_, run.dp, packing_of(run.config))) {
      if (mine.empty()) continue;
      auto& passes = ranks.emplace_back();
      for (const auto& rows : mine) passes.push_back(pass_of(rows, run));
    }
  }
  return entry->second;
}

// The micro-batches that may take the most: those of all steps where all were dealt, otherwise what none goes beyond.
std::vector<PassShape> Planner::largest(const Run& run) const {
  std::vector<PassShape> shapes;
  const Dealt& steps = dealt(run);
  for (const auto& ranks : steps)
    for (const auto& passes : ranks)
      for (const Pass& pass : passes) shapes.push_back(pass.shape);
  if (static_cast<int64_t>(steps.size()) == steps_) return shapes;
  const int64_t longest = *std::max_element(lengths_.begin(), lengths_.end());
  std::vector<int64_t> sorted = lengths_;
  const auto batch = std::min(sorted.size(), static_cast<size_t>(config_.train.batch_examples));
  std::partial_sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(batch), sorted.end(),
                    std::greater<>());
  const int64_t of_batch =
      std::accumulate(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(batch), int64_t{0});
  const int64_t packed = config_.data.packing ? std::min(run.config.train.micro_batch_tokens, of_batch) : 0;
  const int64_t tokens = std::max(longest, packed);
  constexpr double kMost = 1e17;  // with tens of bytes of each, in 64 bits
  if (static_cast<double>(tokens) * static_cast<double>(run.model.global_parameters()) > kMost)
    throw BadInput(
        fmt::format("a micro-batch of {} tokens is more than can be reckoned with for such a model; lower "
                    "train.micro_batch_tokens or data.max_tokens",
                    tokens));
  shapes.push_back({tokens, tokens, longest, std::min(tokens, longest * machine_.threads)});
  return shapes;
}

// Of the rank with most, the first one, which writes the weights too. The last checkpoint is written without copies.
int64_t Planner::copies_bytes(const Run& run) const {
  if (!run.config.checkpoint.background || save_every_ >= steps_) return 0;
  return saved_weights_bytes(run.model, run.dtype) + saved_state_bytes(run.owned(), run.dtype);
}

PlannedMemory Planner::memory_of(const Run& run) const {
  PlannedMemory planned;
  ActivationBytes activations;
  for (const PassShape& pass : largest(run)) {
    const ActivationBytes now = activation_bytes(model_, run.tp, run.device, run.memory, pass);
    if (now.peak() <= activations.peak()) continue;
    activations = now;
    planned.pass = pass;
  }
  const Parameters& parameters = run.model.parameters();
  const Parameters::Bytes bytes = parameters.bytes(run.memory.parameters);
  const int64_t state = ZeroAdamW::state_bytes(run.owned(), run.dtype);
  const int64_t update = ZeroAdamW::step_bytes(run.owned());
  const int64_t scratch = run.device.is_cpu() ? kScratchBytes * ((run.dp > 1) + (run.tp > 1)) : 0;
  const int64_t copies = copies_bytes(run);
  planned.on_host = (run.is_offloaded ? state : 0) + (run.device.is_cpu() ? 0 : copies);
  planned.parts = {{"weights", bytes.values},
                   {"gradients", bytes.grads + Gradients::bytes(parameters, run.memory.parameters, run.dp,
                                                                run.config.run.reproducible)},
                   {"optimizer state", run.is_offloaded ? 0 : state},
                   {"activations kept for backward", activations.kept},
                   {"a block's backward, or the loss", std::max(activations.block, activations.loss)},
                   {"the update, beyond these", std::max<int64_t>(0, update - activations.peak())},
                   {"collectives", scratch},
                   {"copies of a checkpoint", run.device.is_cpu() ? copies : 0}};
  return planned;
}

double Planner::tp_seconds(const Run& run, const PassShape& pass) const {
  const Ring ring(machine_, run.tp, std::min(run.tp, machine_.devices_per_node));
  const auto layers = static_cast<double>(model_.layers);
  const bool is_cut = run.memory.sequence_parallel && run.tp > 1;
  // Of activations, in all-reduces: two a block forward and two backward (cut by token, a gather and a scatter each),
  // what is run again, and two outside the blocks.
  double times = 4 * layers + 2;
  if (run.config.model.recompute == Recompute::kBlock) times += 2 * layers;
  if (run.config.model.recompute == Recompute::kAttention && is_cut) times += layers / 2;
  const double activations = size_of(run.dtype) * static_cast<double>(pass.tokens * model_.hidden_size);
  // The gradients of two norms a block and of the last, where each rank has some of the rows.
  const double norms = is_cut ? (2 * layers + 1) * ring.all_reduce(4.0 * static_cast<double>(model_.hidden_size)) : 0;
  return times * ring.all_reduce(activations) + norms;
}

Planner::Work Planner::work_of(const Run& run) const {
  Work work;
  const Dealt& steps = dealt(run);
  for (const auto& ranks : steps) {
    double most_flops = 0, most_tp_seconds = 0;
    size_t most_passes = 0;
    for (const auto& passes : ranks) {
      double flops = 0, seconds = 0;
      for (const Pass& pass : passes) {
        const PassFlops of = pass_flops(model_, run.tp, run.config.model.recompute, pass.shape, pass.pairs);
        flops += of.total();
        work.forward += of.forward;
        work.backward += of.backward;
        seconds += tp_seconds(run, pass.shape);
        work.tokens += static_cast<double>(pass.shape.tokens);
      }
      work.mean += flops / run.dp;
      most_flops = std::max(most_flops, flops);
      most_tp_seconds = std::max(most_tp_seconds, seconds);
      most_passes = std::max(most_passes, passes.size());
      work.passes += static_cast<double>(passes.size());
    }
    work.longest += most_flops;
    work.tp_seconds += most_tp_seconds;
    work.most_passes += static_cast<double>(most_passes);
  }
  const double blocks = work.passes * static_cast<double>(model_.layers);
  work.forward /= blocks;
  work.backward /= blocks;
  const auto count = static_cast<double>(steps.size());
  for (double* sum : {&work.tokens, &work.mean, &work.longest, &work.tp_seconds, &work.passes, &work.most_passes})
    *sum /= count;
  return work;
}

Planner::DpSeconds Planner::dp_seconds(const Run& run, const Work& work, double flops_a_second) const {
  const Ring dp(machine_, run.dp, std::max(1, machine_.devices_per_node / run.tp));
  // In the order in which they go.
  std::vector<double> reduced_a_pass, reduced_a_step, gathered;
  for (size_t bucket = run.lengths.size(); bucket-- > 0;) {
    const auto length = static_cast<double>(run.lengths[bucket]);
    const bool shared = run.memory.parameters.shares(run.model.parameters().is_transient(bucket));
    (shared ? reduced_a_pass : reduced_a_step).push_back(dp.half(size_of(*run.memory.parameters.grad_dtype) * length));
    gathered.insert(gathered.begin(), dp.half(size_of(run.dtype) * length));
  }
  const auto all = [](const std::vector<double>& seconds) {
    return std::accumulate(seconds.begin(), seconds.end(), 0.0);
  };
  if (!run.overlap) return {all(reduced_a_pass) * work.most_passes + all(reduced_a_step), all(gathered)};

  // With the first bucket's, which nothing follows, kept for the end of a step. On CPU ranks what is begun goes on in
  // looks: a block has one before each of its four products forward, and between all eight backward. On GPUs by itself.
  const auto hidden = [&](double computing, int looks) {
    return run.device.is_cpu() ? std::min(computing, dp.in_looks(looks)) : computing;
  };
  const double backward = hidden(work.backward / flops_a_second, 8);
  const double forward = hidden(work.forward / flops_a_second, 4);
  const double last = reduced_a_step.back();
  reduced_a_step.pop_back();
  const double weights = exposed_in_front(gathered, forward);
  if (reduced_a_pass.empty()) return {exposed_behind(reduced_a_step, backward) + last, weights};
  // The last of a pass goes on in the forward pass of the next one.
  const double behind = exposed_behind(reduced_a_pass, backward), end = reduced_a_pass.back();
  const double into_next = std::max(0.0, end - forward * static_cast<double>(reduced_a_pass.size()));
  return {(behind - end + into_next) * (work.most_passes - 1) + behind + all(reduced_a_step) + last, weights};
}

PlannedStep Planner::step_of(const Run& run) const {
  const Work work = work_of(run);
  PlannedStep planned;
  planned.tokens = work.tokens;
  planned.flops = work.mean * run.dp * run.tp;
  // Of products alone, and of a step's computing.
  const double products_a_second =
      1e12 * (run.dtype == at::kFloat ? machine_.fp32_tflops : machine_.bf16_tflops) * machine_.product_share;
  const double flops_a_second = products_a_second * machine_.step_share;
  const double products = work.mean / products_a_second;
  const DpSeconds dp = dp_seconds(run, work, flops_a_second);

  // AdamW reads value, gradient and moments and writes value and moments; gradients are read for their norm and
  // cleared. Offloaded, an fp32 gradient and the value go out and the value comes back.
  const auto owned = static_cast<double>(run.owned());
  const double grad_size = size_of(*run.memory.parameters.grad_dtype), size = size_of(run.dtype);
  const double updated = 28 * owned / ((run.is_offloaded ? machine_.host_memory_gb_s : machine_.memory_gb_s) * 1e9);
  const double cleared = 2 * grad_size * static_cast<double>(run.padded) / (machine_.memory_gb_s * 1e9);
  const double moved = run.is_offloaded ? (4 + 2 * size) * owned / (machine_.host_link_gb_s * 1e9) : 0;
  planned.seconds = {{"matrix products", products},
                     {"other computing", products * (1 / machine_.step_share - 1)},
                     {"waiting for the rank with most", (work.longest - work.mean) / flops_a_second},
                     {"collectives of tp", work.tp_seconds},
                     {"gradients over dp", dp.gradients},
                     {"optimizer", updated + cleared},
                     {"to the host and back", moved},
                     {"weights over dp", dp.weights}};
  return planned;
}

Plan Planner::plan() const {
  const Run run = run_of(config_);
  Plan plan;
  plan.dp = run.dp;
  plan.tp = run.tp;
  plan.parameters = run.model.global_parameters();
  plan.memory = memory_of(run);
  plan.step = step_of(run);
  plan.fits = fits(plan.memory);
  plan.steps = steps_;
  plan.dealt_steps = static_cast<int64_t>(dealt(run).size());
  plan.weights_bytes = saved_weights_bytes(run.model, run.dtype);
  plan.optimizer_bytes = saved_state_bytes(plan.parameters, run.dtype);
  return plan;
}

int64_t Planner::memory_bytes() const {
  return static_cast<int64_t>((machine_.memory_gb - machine_.reserved_gb) * 1e9);
}

std::optional<int64_t> Planner::host_memory_bytes() const {
  if (!machine_.host_memory_gb) return std::nullopt;
  return static_cast<int64_t>(*machine_.host_memory_gb * 1e9);
}

bool Planner::fits(const PlannedMemory& memory) const {
  return memory.total() <= memory_bytes() && memory.on_host <= host_memory_bytes().value_or(memory.on_host);
}

Planner::Outcome Planner::outcome(const RunConfig& config) const {
  const Run run = run_of(config);
  const PlannedMemory memory = memory_of(run);
  const bool is_possible = fits(memory);
  return {is_possible, memory.total(), memory.on_host, is_possible ? step_of(run).total() : 0};
}

at::Device Planner::device() const {
  return machine_.is_cpu() ? at::kCPU : at::kCUDA;
}

}  // namespace spt
