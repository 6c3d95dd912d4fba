// Saves a run's checkpoints: at once, or in the background while training goes on, at most one at a time.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>

#include "dist/mesh.h"
#include "trainer/checkpoint.h"
#include "trainer/checkpoint_writer.h"
#include "trainer/model/causal_lm.h"
#include "trainer/optim/zero_adamw.h"
#include "trainer/run_config.h"
#include "trainer/run_inputs.h"

namespace spt {

class Saver {
 public:
  // What a checkpoint is made of and where it goes; outlives the saver.
  struct Run {
    const RunConfig& config;
    const RunInputs& inputs;
    Runtime& runtime;
    const Mesh& mesh;
    const CheckpointStore& checkpoints;
    CausalLm& model;
    ZeroAdamW& optimizer;
  };
  explicit Saver(const Run& run) : run_(run) {}

  // Collective: whether the step is saved, or being saved in the background. The last save of a run throws Failure
  // where it fails; any other is done without, with a warning.
  bool save(int64_t step, bool is_last);
  // Collective: waits for the save under way, if there is one; whether it succeeded.
  bool finish(bool is_last);

  bool is_under_way() const { return save_.has_value(); }
  // Whether this rank still writes.
  bool is_writing() const { return save_ && !save_->writer.is_finished(); }

 private:
  void begin(int64_t step, bool in_background);  // throws NotSaved
  void not_saved(int64_t step, bool is_last, const NotSaved& reason) const;

  struct Save {
    Save(int64_t of_step, std::filesystem::path folder, bool in_background,
         std::chrono::steady_clock::time_point begun_at)
        : step(of_step), writer(std::move(folder), in_background), start(begun_at) {}
    int64_t step;
    CheckpointWriter writer;
    std::chrono::steady_clock::time_point start;
    double stopped = 0;  // seconds that training has stopped for it so far
  };
  Run run_;
  std::optional<Save> save_;  // under way
};

}  // namespace spt
