// Full-parameter fine-tuning of one model on one corpus, on a dp × tp mesh.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "data/dataset.h"
#include "data/read_ahead.h"
#include "dist/mesh.h"
#include "dist/to_device.h"
#include "trainer/bad_steps.h"
#include "trainer/checkpoint.h"
#include "trainer/gradients.h"
#include "trainer/model/causal_lm.h"
#include "trainer/optim/zero_adamw.h"
#include "trainer/run_config.h"
#include "trainer/run_inputs.h"
#include "trainer/run_lock.h"
#include "trainer/run_records.h"
#include "trainer/saver.h"
#include "trainer/step_rows.h"

namespace spt {

class Console;

// What `train --check` prints. Reads and checks as a Trainer does, on several ranks the weights too, but one rank may
// check what needs more (a login node has one). Throws BadInput.
std::string check_run(const RunConfig& config, Runtime& runtime);

class Trainer {
 public:
  // Collective. Reads and checks everything (configuration, model, corpora, that all ranks see the same files) without
  // changing anything. Throws BadInput.
  Trainer(RunConfig config, Runtime& runtime, std::vector<std::string> command_line);

  std::string summary() const;
  int64_t total_steps() const { return inputs_.total_steps; }

  // Collective, in place of `run`: loads the weights of model.path, and says how long it took; a line, none for
  // random ones. Throws BadInput or Failure where they cannot be read.
  std::string read_weights();

  // Collective; stop handlers (base/stop.h) are the caller's. Takes the run folder, resumes from its newest whole
  // checkpoint if there is one, trains to the end or to a request to stop (SIGTERM, SIGUSR1, SIGINT, or a file STOP in
  // the run folder: saved, then kStopped).
  ExitStatus run();

 private:
  std::unique_ptr<RunLock> take_run_folder() const;
  void require_same_inputs(const std::filesystem::path& hf) const;
  void load(std::optional<int64_t> checkpoint);  // weights and optimizer: new ones, or those of this step
  // Collective: settles model.attention where it is auto, on the shape of this rank's first micro-batch.
  void choose_attention(const std::vector<Batch>& batches);
  void open_records(int64_t done);  // rank 0 writes the configuration, manifest, metrics, events
  // A step that has been begun: on a GPU its numbers come later.
  struct Step {
    std::chrono::steady_clock::time_point start;
    double communicated;                     // seconds, before it
    MetricsRow row;                          // what is known on the host
    std::vector<std::vector<int64_t>> rows;  // of this rank's micro-batches
    double mean_length;
    LateNumbers numbers;  // loss sum and gradient norm of all ranks; least and greatest gradient of the embedding and
                          // the loss of each micro-batch, here
    bool is_abandoned;    // at a request to stop that this rank heard of: it is not applied on any rank
  };
  Step step(int64_t step);         // from 0
  MetricsRow complete(Step step);  // waits for its numbers; collective over the hosts
  // Writes and shows it. Throws Failure where too many steps in a row are bad.
  void report(const MetricsRow& row, Console& console);
  double communication_seconds() const;  // so far
  // Collective, at the end of a step: what all ranks agree on.
  struct StepEnd {
    bool stop;       // a rank was asked to
    bool written;    // there is a save under way, and every rank has written its part
    bool abandoned;  // a rank has abandoned the step
  };
  StepEnd agree(bool is_abandoned);
  // Whether there is a request to stop, as far as this rank and those of its tp group have heard.
  bool stops();
  void stop_after(int64_t done);  // collective: saves that step, waits for all saves

  RunConfig config_;
  Runtime& runtime_;
  std::vector<std::string> command_line_;
  RunInputs inputs_;
  Mesh mesh_;
  CheckpointStore checkpoints_;
  CausalLm model_;
  std::unique_ptr<Gradients> gradients_;
  std::unique_ptr<ZeroAdamW> optimizer_;
  std::unique_ptr<ReadAhead<StepRows>> rows_;  // of each step, read while the one before is trained on
  std::optional<double> peak_flops_;           // of a GPU in the run's dtype, where it is known
  std::optional<BadSteps> bad_steps_;
  std::chrono::steady_clock::time_point completed_;  // when the latest step was
  std::optional<Saver> saver_;
  // On rank 0, while it runs:
  std::future<std::string> weights_hash_;  // of the weights that it starts from, made while they are loaded
  std::jthread hashing_;
  std::unique_ptr<RunLock> lock_;
  std::optional<RunRecords> records_;
};

}  // namespace spt
