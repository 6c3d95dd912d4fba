#include "trainer/plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "data/dataset.h"
#include "data/sampler.h"
#include "dist/mpi_communicator.h"
#include "trainer/gradients.h"

namespace spt {
namespace {

// Steps that are dealt as the run will deal them; their mean stands for all.
constexpr int64_t kSteps = 50;

struct Pass {
  PassShape shape;
  double pairs = 0;  // Σ L² over its examples
};

double size_of(at::ScalarType dtype) {
  return static_cast<double>(c10::elementSize(dtype));
}

}  // namespace

int64_t PlannedMemory::total() const {
  return std::accumulate(parts.begin(), parts.end(), int64_t{0},
                         [](int64_t sum, const auto& p) { return sum + p.second; });
}

double PlannedStep::total() const {
  return std::accumulate(seconds.begin(), seconds.end(), 0.0, [](double sum, const auto& p) { return sum + p.second; });
}

// What there is to do, from the corpus alone.
struct Planner::Work {
  std::vector<std::vector<std::vector<Pass>>> passes;  // by step and dp rank
  int64_t steps = 0;                                   // of the whole run
};

Planner::Planner(const RunConfig& config, int ranks, const Machine& machine, std::optional<AssumedCorpus> assumed)
    : config_(config),
      ranks_(ranks),
      machine_(machine),
      assumed_(assumed),
      model_(load_model_config(config.model.path)) {
  if (config.mesh.tp > ranks || ranks % config.mesh.tp != 0)
    throw BadInput(fmt::format("mesh.tp is {}, must divide --ranks {}", config.mesh.tp, ranks));
  check_tensor_parallel(model_, config.mesh.tp);
  if (assumed_) return;
  try {
    corpus_ = std::make_unique<Dataset>(config.data.train, config.data.max_tokens.value_or(0));
  } catch (const BadInput& error) {
    throw BadInput(fmt::format(
        "data.train: {}; of a corpus that is not there yet, say --examples N and --example-tokens L", error.what()));
  }
}

Planner::~Planner() = default;

Planner::Work Planner::work(const RunConfig& config, int dp) const {
  const std::vector<int64_t> lengths =
      corpus_ ? corpus_->lengths()
              : std::vector<int64_t>(static_cast<size_t>(assumed_->examples), assumed_->example_tokens);
  const auto length = [&](int64_t row) { return lengths[static_cast<size_t>(row)]; };
  const SamplerConfig sampler{static_cast<int64_t>(lengths.size()), config.train.batch_examples, config.run.seed};
  Work work;
  work.steps = config.train.steps ? *config.train.steps : *config.train.epochs * steps_per_epoch(sampler);
  for (int64_t step = 0; step < std::min({kSteps, steps_per_epoch(sampler), work.steps}); ++step) {
    const std::vector<int64_t> rows = rows_for_step(step, sampler);
    auto& ranks = work.passes.emplace_back();
    for (int rank = 0; rank < dp; ++rank) {
      auto& passes = ranks.emplace_back();
      const auto mine = rows_for_rank(rows, lengths, rank, dp);
      for (const auto& together : micro_batches(mine, lengths, config.train.micro_batch_tokens, config.data.packing)) {
        Pass& pass = passes.emplace_back();
        for (const int64_t row : together) {
          pass.shape.tokens += length(row);
          pass.pairs += std::pow(static_cast<double>(length(row)), 2);
        }
        pass.shape.trained = corpus_ ? corpus_->batch(together).trained_tokens() : pass.shape.tokens;
      }
    }
  }
  return work;
}

namespace {

// Seconds of collectives in a ring over `ranks`, of which every node has `per_node`: Thakur et al., 2005.
class Ring {
 public:
  Ring(const Machine& machine, int ranks, int per_node) : ranks_(ranks) {
    const int nodes = (ranks + per_node - 1) / per_node;
    const double between = nodes > 1 ? nodes : 0;
    bytes_per_second_ =
        1e9 * (nodes > 1 ? std::min(machine.link_gb_s, machine.network_gb_s * per_node) : machine.link_gb_s);
    hops_seconds_ =
        1e-6 * (between * machine.network_us + (ranks - 1 - std::min(between, ranks - 1.0)) * machine.link_us);
  }
  // A reduce-scatter or an all-gather of so many bytes in all.
  double half(double bytes) const {
    if (ranks_ == 1) return 0;
    return bytes * (ranks_ - 1) / ranks_ / bytes_per_second_ + hops_seconds_;
  }
  double all_reduce(double bytes) const { return 2 * half(bytes); }

 private:
  int ranks_;
  double bytes_per_second_, hops_seconds_;
};

}  // namespace

Plan Planner::plan(const RunConfig& config) const {
  Plan plan;
  plan.tp = config.mesh.tp;
  plan.dp = ranks_ / plan.tp;
  const CausalLm model(model_, 0, plan.tp);
  const Parameters& parameters = model.parameters();
  plan.parameters = model.global_parameters();
  const at::Device device = machine_.is_cpu ? at::kCPU : at::kCUDA;
  const at::ScalarType dtype = scalar_type(config.model.dtype, device);
  const CausalLm::Memory memory = model_memory(config, dtype, plan.dp);
  const Work work = this->work(config, plan.dp);
  plan.steps = work.steps;

  ActivationBytes activations;
  for (const auto& ranks : work.passes)
    for (const auto& passes : ranks)
      for (const Pass& pass : passes) {
        const ActivationBytes now = activation_bytes(model_, plan.tp, device, memory, pass.shape);
        if (now.peak() <= activations.peak()) continue;
        activations = now;
        plan.longest = pass.shape;
      }

  const Parameters::Bytes bytes = parameters.bytes(memory.parameters);
  const std::vector<int64_t> lengths = parameters.bucket_lengths(memory.parameters.multiple);
  const int64_t padded = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  const int64_t owned = padded / plan.dp;
  const int64_t state = ZeroAdamW::state_bytes(owned, dtype);
  const bool is_offloaded = config.optimizer.offload == Offload::kCpu && !machine_.is_cpu;
  plan.memory.on_host = is_offloaded ? state : 0;
  plan.memory.parts = {
      {"weights", bytes.values},
      {"gradients", bytes.grads + Gradients::bytes(parameters, memory.parameters, plan.dp)},
      {"optimizer state", is_offloaded ? 0 : state},
      {"activations kept for backward", activations.kept},
      {"a block's backward, or the loss", std::max(activations.block, activations.loss)},
      {"collectives", machine_.is_cpu ? MpiCommunicator::Limits{}.scratch_bytes * ((plan.dp > 1) + (plan.tp > 1)) : 0}};

  // Time.
  const double tflops = (dtype == at::kFloat ? machine_.fp32_tflops : machine_.bf16_tflops) * machine_.product_share;
  const int per_node = std::max(1, machine_.devices_per_node / plan.tp);
  const Ring dp(machine_, plan.dp, per_node), tp(machine_, plan.tp, std::min(plan.tp, machine_.devices_per_node));
  const double grad_size = size_of(*memory.parameters.grad_dtype);
  const auto reduce_pass = [&](bool shared) {  // of the buckets that share memory, or of the others
    double seconds = 0;
    for (size_t bucket = 0; bucket < lengths.size(); ++bucket)
      if ((memory.parameters.share_gradients && parameters.is_transient(bucket)) == shared)
        seconds += dp.half(grad_size * static_cast<double>(lengths[bucket]));
    return seconds;
  };
  double products = 0, uneven = 0, cut = 0, reduced = 0;
  for (const auto& ranks : work.passes) {
    double longest = 0, sum = 0, longest_cut = 0;
    size_t most_passes = 0;
    for (const auto& passes : ranks) {
      double flops = 0, seconds_cut = 0;
      most_passes = std::max(most_passes, passes.size());
      for (const Pass& pass : passes) {
        flops += pass_flops(model_, plan.tp, config.model.recompute, pass.shape, pass.pairs);
        plan.step.tokens += static_cast<double>(pass.shape.tokens);
        // Two all-reduces a block forward and backward, two more where it is run again, two outside the blocks.
        const double times =
            (config.model.recompute == Recompute::kBlock ? 6.0 : 4.0) * static_cast<double>(model_.layers) + 2;
        seconds_cut +=
            times * tp.all_reduce(size_of(dtype) * static_cast<double>(pass.shape.tokens * model_.hidden_size));
      }
      longest = std::max(longest, flops);
      longest_cut = std::max(longest_cut, seconds_cut);
      sum += flops;
    }
    plan.step.flops += sum * plan.tp;
    const double mean = sum / static_cast<double>(ranks.size());
    products += mean / (tflops * 1e12);
    uneven += (longest - mean) / (tflops * 1e12) / machine_.step_share;
    cut += longest_cut;
    reduced += reduce_pass(true) * static_cast<double>(most_passes) + reduce_pass(false);
  }
  const auto steps = static_cast<double>(std::max<size_t>(1, work.passes.size()));
  plan.step.tokens /= steps;
  plan.step.flops /= steps;
  double gathered = 0;
  for (const int64_t length : lengths) gathered += dp.half(size_of(dtype) * static_cast<double>(length));
  // AdamW reads value, gradient and moments and writes value and moments; gradients are read for their norm and
  // cleared.
  const double optimizer_bytes = 28.0 * static_cast<double>(owned) + 8.0 * static_cast<double>(padded);
  // Offloaded: gradient and value go out, the value comes back.
  const double moved = is_offloaded ? (grad_size + 2 * size_of(dtype)) * static_cast<double>(owned) : 0;
  plan.step.seconds = {
      {"matrix products", products / steps},
      {"other computing", products / steps * (1 / machine_.step_share - 1)},
      {"waiting for the rank with most", uneven / steps},
      {"collectives of tp", cut / steps},
      {"gradients over dp", reduced / steps},
      {"optimizer", optimizer_bytes / ((is_offloaded ? machine_.host_memory_gb_s : machine_.memory_gb_s) * 1e9)},
      {"to the host and back", moved / (machine_.host_link_gb_s * 1e9)},
      {"weights over dp", gathered}};

  plan.weights_bytes = plan.parameters * static_cast<int64_t>(c10::elementSize(dtype));
  plan.optimizer_bytes = plan.parameters * (dtype == at::kFloat ? 8 : 12);
  return plan;
}

int64_t Planner::memory_bytes() const {
  return static_cast<int64_t>((machine_.memory_gb - machine_.reserved_gb) * 1e9);
}

std::vector<Proposal> Planner::proposals() const {
  RunConfig config = config_;
  int64_t bytes = plan(config).memory.total();
  std::vector<Proposal> made;
  const auto propose = [&](const RunConfig& changed, const std::string& override) {
    const int64_t then = plan(changed).memory.total();
    if (bytes <= memory_bytes() || then > bytes * 99 / 100) return;
    config = changed;
    bytes = then;
    made.push_back({override, then});
  };
  // From what costs little time to what costs much.
  if (ranks_ > config.mesh.tp && config.optimizer.zero == ZeroStage::kState) {
    RunConfig next = config;
    next.optimizer.zero = ZeroStage::kGradients;
    propose(next, "optimizer.zero=2");
  }
  if (config.model.recompute != Recompute::kBlock) {
    RunConfig next = config;
    next.model.recompute = Recompute::kBlock;
    propose(next, "model.recompute=block");
  }
  while (config.train.micro_batch_tokens > 512) {
    RunConfig next = config;
    next.train.micro_batch_tokens /= 2;
    const size_t before = made.size();
    propose(next, fmt::format("train.micro_batch_tokens={}", next.train.micro_batch_tokens));
    if (made.size() == before) break;
  }
  if (config.optimizer.offload == Offload::kNone && !machine_.is_cpu) {
    RunConfig next = config;
    next.optimizer.offload = Offload::kCpu;
    propose(next, "optimizer.offload=cpu");
  }
  if (config.optimizer.grad_dtype == GradDtype::kFp32) {
    RunConfig next = config;
    next.optimizer.grad_dtype = GradDtype::kBf16;
    propose(next, "optimizer.grad_dtype=bf16");
  }
  for (int tp = config.mesh.tp * 2; tp <= ranks_ && tp <= machine_.devices_per_node && ranks_ % tp == 0; tp *= 2) {
    RunConfig next = config;
    next.mesh.tp = tp;
    if (model_.kv_heads % tp != 0 || model_.intermediate_size % tp != 0) break;
    propose(next, fmt::format("mesh.tp={}", tp));
  }
  return made;
}

}  // namespace spt
