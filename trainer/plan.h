// What a training run needs, before it is started: memory of a rank by what takes it, time of a step by what it goes
// into, size of checkpoints.
//
// Memory is added up from what the nouns themselves publish (Parameters::bytes, Gradients::bytes,
// ZeroAdamW::state_bytes, activation_bytes, saved_weights_bytes, saved_state_bytes), for the largest micro-batch that
// the corpus can make. Time is a model: operations and bytes over the machine's rates, nothing hidden behind anything
// else but what mesh.overlap hides.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "trainer/machine.h"
#include "trainer/model/activations.h"
#include "trainer/run_config.h"

namespace spt {

// A corpus that is not there yet, in place of data.train.
struct AssumedCorpus {
  int64_t examples = 0;
  int64_t example_tokens = 0;  // of each; all trained
};

struct PlannedMemory {
  std::vector<std::pair<std::string, int64_t>> parts;  // bytes of a rank on its device
  int64_t on_host = 0;                                 // bytes of a rank in its host's memory besides
  PassShape pass;                                      // that takes the most
  int64_t total() const;                               // of the parts
};

struct PlannedStep {                                    // the mean over steps
  double tokens = 0, flops = 0;                         // over all ranks
  std::vector<std::pair<std::string, double>> seconds;  // by what it goes into
  double total() const;
};

struct Plan {
  int dp = 1, tp = 1;
  int64_t parameters = 0;
  PlannedMemory memory;
  PlannedStep step;
  bool fits = false;
  int64_t steps = 0, dealt_steps = 0;              // of the run, and those whose mean `step` is
  int64_t weights_bytes = 0, optimizer_bytes = 0;  // of a checkpoint
};

// Another configuration, by what it changes.
struct Proposal {
  std::vector<std::string> overrides;  // key=value
  int64_t bytes = 0, on_host = 0;      // of a rank
  double seconds = 0;                  // of a step
};

class Planner {
 public:
  // Reads config.json and, without `assumed`, the corpus. Throws BadInput for what spt train refuses.
  Planner(const RunConfig& config, int ranks, const Machine& machine, std::optional<AssumedCorpus> assumed);
  ~Planner();

  Plan plan() const;
  // The fastest configurations that fit, at most three, none of which changes all keys of a faster one; where this one
  // fits those that are faster by 3% and more. Of keys that say how it is computed, not what: optimizer.grad_dtype,
  // which rounds, only where nothing fits without it.
  std::vector<Proposal> proposals() const;
  int64_t memory_bytes() const;                      // of a device, without what is reserved
  std::optional<int64_t> host_memory_bytes() const;  // a device's share, where the machine says it

 private:
  struct Pass {
    PassShape shape;
    double pairs = 0;  // Σ attention_pairs over its examples
  };
  using Dealt = std::vector<std::vector<std::vector<Pass>>>;  // by step and dp rank
  struct Run;                                                 // a configuration on this machine

  void check_mesh(const RunConfig& config) const;  // throws BadInput
  Run run_of(const RunConfig& config) const;       // REQUIRES: check_mesh
  at::Device device() const;
  bool fits(const PlannedMemory& memory) const;
  struct Outcome {
    bool fits;
    int64_t bytes, on_host;
    double seconds;  // of a step, where it fits
  };
  Outcome outcome(const RunConfig& config) const;
  // Faster first, from `config` with these keys' values tried in all combinations.
  struct Choice {
    std::string override;  // "": as it is
    std::function<void(RunConfig&)> change;
  };
  using Choices = std::vector<std::vector<Choice>>;  // by key
  Choices choices() const;
  std::vector<Proposal> search(const Choices& choices, double below_seconds) const;
  int64_t trained_tokens(int64_t row) const;
  const Dealt& dealt(const Run& run) const;
  Pass pass_of(const std::vector<int64_t>& rows, const Run& run) const;
  std::vector<PassShape> largest(const Run& run) const;
  PlannedMemory memory_of(const Run& run) const;
  int64_t copies_bytes(const Run& run) const;  // of a checkpoint that is written in the background
  // Means over the steps that were dealt; floating-point operations are of one rank.
  struct Work {
    double tokens = 0;                 // over all ranks
    double mean = 0, longest = 0;      // operations: of a rank, and of the rank with most
    double forward = 0, backward = 0;  // operations of one block in one pass
    double passes = 0;                 // of all ranks
    double most_passes = 0;            // of a rank
    double tp_seconds = 0;             // in collectives of tp, of the rank with most
  };
  Work work_of(const Run& run) const;
  struct DpSeconds {  // not hidden behind computing
    double gradients, weights;
  };
  DpSeconds dp_seconds(const Run& run, const Work& work, double flops_a_second) const;
  PlannedStep step_of(const Run& run) const;
  double tp_seconds(const Run& run, const PassShape& pass) const;  // collectives of a pass

  RunConfig config_;
  int ranks_;
  Machine machine_;
  std::optional<AssumedCorpus> assumed_;
  ModelConfig model_;
  std::unique_ptr<Dataset> corpus_;
  std::vector<int64_t> lengths_;
  int64_t steps_ = 0;  // of the whole run
  int64_t save_every_ = 0;
  // What was found so far.
  mutable std::map<std::pair<int, int64_t>, Dealt> dealt_;  // by dp and micro-batch
  mutable std::map<int, bool> overlap_;                     // by tp
  mutable std::unordered_map<int64_t, int64_t> trained_;    // tokens, by row
};

}  // namespace spt
