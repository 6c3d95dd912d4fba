// Everything a training run is configured by. Sections belong to the code they configure.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fields.h"
#include "data/sampler.h"
#include "dist/mesh.h"
#include "trainer/model/causal_lm.h"
#include "trainer/optim/schedule.h"
#include "trainer/optim/zero_adamw.h"

namespace spt {

enum class Init { kPretrained, kRandom };
inline std::vector<std::pair<std::string, Init>> enum_names(Init) {
  return {{"pretrained", Init::kPretrained}, {"random", Init::kRandom}};
}

enum class Dtype { kAuto, kFp32, kBf16 };
inline std::vector<std::pair<std::string, Dtype>> enum_names(Dtype) {
  return {{"auto", Dtype::kAuto}, {"fp32", Dtype::kFp32}, {"bf16", Dtype::kBf16}};
}
// auto is fp32 on the CPU and bf16 on a GPU.
at::ScalarType scalar_type(Dtype dtype, at::Device device);

enum class Resume { kAuto, kNever };
inline std::vector<std::pair<std::string, Resume>> enum_names(Resume) {
  return {{"auto", Resume::kAuto}, {"never", Resume::kNever}};
}

// Of waits for other ranks, and of a rank's silence (dist/watchdog.h).
struct TimeLimits {
  double collective_timeout_s = 600;
  double io_timeout_s = 3600;

  template <class F>
  void fields(F& f) {
    f("collective_timeout_s", collective_timeout_s, "a collective that takes longer ends the job; 0: never");
    f("io_timeout_s", io_timeout_s, "the same while loading and saving");
  }
  void validate(std::vector<std::string>& errors) const;
};

struct RunSection : TimeLimits {
  std::filesystem::path dir;
  uint64_t seed = 1;
  int64_t log_every = 1;
  bool reproducible = false;

  template <class F>
  void fields(F& f) {
    f("dir", dir, "run folder: configuration, metrics, log, checkpoints");
    f("seed", seed, "of the order of examples and of random weights");
    f("log_every", log_every, "steps between lines on the console");
    TimeLimits::fields(f);
    f("reproducible", reproducible,
      "the same bits on any number of dp ranks and after any interruption, on CPUs of one kind with as many threads a "
      "rank; 8 bytes a parameter more");
  }
  void validate(std::vector<std::string>& errors) const;
};

struct ModelSection {
  std::filesystem::path path;
  Init init = Init::kPretrained;
  Dtype dtype = Dtype::kAuto;
  Recompute recompute = Recompute::kNone;
  bool sequence_parallel = true;
  AttentionWay attention = AttentionWay::kAuto;

  template <class F>
  void fields(F& f) {
    f("path", path, "Hugging Face folder: config.json, tokenizer, safetensors");
    f("init", init, "pretrained (weights from model.path) or random");
    f("dtype", dtype, "fp32 or bf16 (with fp32 master weights); auto: fp32 on the CPU, bf16 on a GPU");
    f("sequence_parallel", sequence_parallel, "cut norms and residuals by token over tp: less memory for activations");
    f("attention", attention,
      "of training on GPUs in bf16: flash, cudnn (without a sliding window), or auto: measured at start, cudnn only "
      "where "
      "it is faster");
    f("recompute", recompute,
      "what a backward pass runs again: none, attention with its norm, q, k and v, or each whole block");
  }
  void validate(std::vector<std::string>& errors) const;
};

struct DataSection {
  std::filesystem::path train;
  std::optional<std::filesystem::path> valid;
  bool packing = true;
  std::optional<int64_t> max_tokens;

  template <class F>
  void fields(F& f) {
    f("train", train, "corpus made by spt prepare");
    f("valid", valid, "held-out corpus, measured with every checkpoint");
    f("packing", packing, "several examples a micro-batch; they never see each other");
    f("max_tokens", max_tokens, "trim examples again, below the corpus's own limit");
  }
  void validate(std::vector<std::string>& errors) const;
};

struct TrainSection {
  std::optional<int64_t> epochs;
  std::optional<int64_t> steps;
  int64_t batch_examples = 64;
  int64_t micro_batch_tokens = 4096;
  int64_t max_bad_steps = 3;

  template <class F>
  void fields(F& f) {
    f("epochs", epochs, "passes over the corpus (5 where neither epochs nor steps is given)");
    f("steps", steps, "optimizer steps, instead of epochs");
    f("batch_examples", batch_examples, "examples of one optimizer step, over all ranks");
    f("micro_batch_tokens", micro_batch_tokens, "tokens of one forward and backward pass on a rank");
    f("max_bad_steps", max_bad_steps,
      "so many steps in a row whose loss or gradient norm is not finite end the run; none of them is applied");
  }
  void validate(std::vector<std::string>& errors) const;
};

struct CheckpointSection {
  std::optional<int64_t> every_steps;
  int64_t keep = 2;
  Resume resume = Resume::kAuto;
  bool final_optimizer = true;
  bool background = true;

  template <class F>
  void fields(F& f) {
    f("every_steps", every_steps, "steps between checkpoints (one an epoch)");
    f("keep", keep, "checkpoints that stay");
    f("resume", resume, "auto: from the newest checkpoint of run.dir; never: refuse a run.dir that has one");
    f("final_optimizer", final_optimizer, "save the optimizer's state with the last checkpoint too");
    f("background", background,
      "write checkpoints but the last from copies in host memory, while training goes on; false: training waits");
  }
  void validate(std::vector<std::string>& errors) const;
};

struct RunConfig {
  RunSection run;
  MeshConfig mesh;
  ModelSection model;
  DataSection data;
  AdamWConfig optimizer;
  ScheduleConfig schedule;
  TrainSection train;
  CheckpointSection checkpoint;

  template <class F>
  void fields(F& f) {
    f("run", run, "");
    f("mesh", mesh, "");
    f("model", model, "");
    f("data", data, "");
    f("optimizer", optimizer, "");
    f("schedule", schedule, "");
    f("train", train, "");
    f("checkpoint", checkpoint, "");
  }
  void validate(std::vector<std::string>& errors) const;
};

// How a step's rows become micro-batches.
Packing packing_of(const RunConfig& config);

RunConfig load_run_config(const std::filesystem::path& file, const std::vector<std::string>& overrides);

// Dotted key → value as an override takes it. A manifest carries them; run_config_of makes the configuration again.
std::map<std::string, std::string> values_of(const RunConfig& config);
// Throws BadInput as load_run_config does; `origin` names where the values come from.
RunConfig run_config_of(const std::map<std::string, std::string>& values, const std::string& origin,
                        const std::vector<std::string>& overrides);

// Whether a resumed run may have another value: what says where and how fast it is done.
bool may_change_on_resume(const std::string& key);

// Gives the watchdog the limit for what comes: training or measuring, files read and written, or a wait for ranks with
// longer shares of the work, which may take any time while these are heard.
void watch_computing(const TimeLimits& limits);
void watch_files(const TimeLimits& limits);
void watch_uneven(const TimeLimits& limits);

// Whether gradients are cut over `dp` ranks.
bool shards_gradients(const RunConfig& config, int dp);

// A rank's memory of the model for training, on `dp` ranks that may communicate while they compute.
CausalLm::Memory model_memory(const RunConfig& config, at::ScalarType dtype, int dp, bool overlap);

// The keys that have another value, but for run.dir, with both values: "optimizer.lr: 1e-05 there, 2e-05 now".
std::vector<std::string> differing_values(const RunConfig& there, const RunConfig& now);
// Those of them in which a resumed run may not differ.
std::vector<std::string> differences(const RunConfig& there, const RunConfig& now);

}  // namespace spt
