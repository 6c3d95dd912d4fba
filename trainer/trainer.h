// Full-parameter fine-tuning of one model on one corpus, on a dp × tp mesh.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/dataset.h"
#include "data/read_ahead.h"
#include "dist/mesh.h"
#include "trainer/checkpoint.h"
#include "trainer/metrics.h"
#include "trainer/model/causal_lm.h"
#include "trainer/optim/zero_adamw.h"
#include "trainer/run_config.h"
#include "trainer/run_inputs.h"
#include "trainer/run_lock.h"

namespace spt {

class Trainer {
 public:
  // Collective. Reads and checks everything (configuration, model, corpora, that all ranks see the same files) without
  // changing anything. Throws BadInput.
  Trainer(RunConfig config, Runtime& runtime, std::vector<std::string> command_line);

  // What `train --check` prints.
  std::string summary() const;

  // Collective; stop handlers (base/stop.h) are the caller's. Takes the run folder, resumes from its newest checkpoint
  // if there is one, trains to the end or to a request to stop (SIGTERM, SIGUSR1, SIGINT, or a file STOP in the run
  // folder: saved, then kStopped).
  ExitStatus run();

 private:
  struct StepResult {
    double loss = 0, grad_norm = 0, data_seconds = 0;
    int64_t trained_tokens = 0, tokens = 0;
  };

  void limit_waits(double seconds) const;  // of collectives, by the watchdog
  std::unique_ptr<RunLock> take_run_folder() const;
  int64_t load();                                       // weights, or the newest checkpoint: its step
  StepResult step(int64_t step);                        // from 0
  std::vector<Batch> load_batches(int64_t step) const;  // on the thread of rows_
  void save(int64_t step);
  bool should_stop();  // collective: all ranks agree
  void show_samples() const;
  MetricsRow row_of(int64_t step, const StepResult& result, double seconds) const;

  RunConfig config_;
  Runtime& runtime_;
  std::vector<std::string> command_line_;
  RunInputs inputs_;
  Mesh mesh_;
  CheckpointStore checkpoints_;
  CausalLm model_;
  std::unique_ptr<ZeroAdamW> optimizer_;
  std::unique_ptr<ReadAhead<std::vector<Batch>>> rows_;  // of each step, read while the one before is trained on
};

}  // namespace spt
