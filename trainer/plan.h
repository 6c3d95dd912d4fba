// What a training run needs, before it is started: memory of a rank by what takes it, time of a step by what it goes
// into, size of checkpoints.
//
// Memory is added up from what the nouns themselves publish (Parameters::bytes, Gradients::bytes,
// ZeroAdamW::state_bytes, activation_bytes), for the corpus's longest micro-batch. Time is a model: operations and
// bytes over the machine's rates, nothing hidden behind anything else.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
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
  int64_t total() const;                               // of the parts
};

struct PlannedStep {                                    // the mean over steps, of the rank that takes longest
  double tokens = 0, flops = 0;                         // over all ranks
  std::vector<std::pair<std::string, double>> seconds;  // by what it goes into
  double total() const;
};

struct Plan {
  int dp = 1, tp = 1;
  int64_t parameters = 0;
  PassShape longest;  // micro-batch
  PlannedMemory memory;
  PlannedStep step;
  int64_t steps = 0;
  int64_t weights_bytes = 0, optimizer_bytes = 0;  // of a checkpoint
};

struct Proposal {
  std::string override;  // key=value
  int64_t bytes = 0;     // a rank then takes
};

class Planner {
 public:
  // Reads config.json and, without `assumed`, the corpus. Throws BadInput.
  Planner(const RunConfig& config, int ranks, const Machine& machine, std::optional<AssumedCorpus> assumed);
  ~Planner();

  Plan plan() const { return plan(config_); }
  // Changes of one value that make it take less, those that fit first, then the greatest savings.
  std::vector<Proposal> proposals() const;
  int64_t memory_bytes() const;  // of a device, without what is reserved

 private:
  struct Work;  // the passes of each step and rank
  Plan plan(const RunConfig& config) const;
  Work work(const RunConfig& config, int dp) const;

  RunConfig config_;
  int ranks_;
  Machine machine_;
  std::optional<AssumedCorpus> assumed_;
  ModelConfig model_;
  std::unique_ptr<Dataset> corpus_;
};

}  // namespace spt
