#include "trainer/run_config.h"

#include <algorithm>

#include "data/config_file.h"
#include "dist/exact_sum.h"
#include "dist/watchdog.h"

namespace spt {

std::map<std::string, std::string> values_of(const RunConfig& config) {
  FieldLister lister;
  const_cast<RunConfig&>(config).fields(lister);  // the visitor only reads
  std::map<std::string, std::string> values;
  for (const auto& line : lister.lines()) values[line.key] = line.value;
  return values;
}

RunConfig run_config_of(const std::map<std::string, std::string>& values, const std::string& origin,
                        const std::vector<std::string>& overrides) {
  std::vector<std::string> written;
  for (const auto& [key, value] : values) written.push_back(key + "=" + value);
  ConfigValues all = parse_overrides(written);
  for (auto& [key, value] : all) value.where = origin;
  for (auto& [key, value] : parse_overrides(overrides)) all[key] = std::move(value);
  return read_fields<RunConfig>(all);
}

at::ScalarType scalar_type(Dtype dtype, at::Device device) {
  if (dtype == Dtype::kAuto) return device.is_cpu() ? at::kFloat : at::kBFloat16;
  return dtype == Dtype::kFp32 ? at::kFloat : at::kBFloat16;
}

namespace {

// More steps or examples than any run has, and few enough that products of two of them do not overflow.
constexpr int64_t kMany = 1'000'000'000;

class Limits {
 public:
  explicit Limits(std::vector<std::string>& errors) : errors_(errors) {}

  void require(bool holds, const std::string& message) {
    if (!holds) errors_.push_back(message);
  }
  void between(const char* key, int64_t value, int64_t least, int64_t most = kMany) {
    require(value >= least, fmt::format("{} is {}, must be at least {}", key, value, least));
    require(value <= most, fmt::format("{} is {}, must be at most {}", key, value, most));
  }
  void between(const char* key, const std::optional<int64_t>& value, int64_t least, int64_t most = kMany) {
    if (value) between(key, *value, least, most);
  }
  void not_negative(const char* key, double value) {
    require(value >= 0, fmt::format("{} is {}, must be at least 0", key, value));
  }

 private:
  std::vector<std::string>& errors_;
};

}  // namespace

void TimeLimits::validate(std::vector<std::string>& errors) const {
  Limits limits(errors);
  limits.not_negative("collective_timeout_s", collective_timeout_s);
  limits.not_negative("io_timeout_s", io_timeout_s);
}

void RunSection::validate(std::vector<std::string>& errors) const {
  Limits limits(errors);
  limits.require(!dir.empty(), "dir is missing: name the run's folder, e.g. run.dir=runs/first");
  limits.between("log_every", log_every, 1);
  TimeLimits::validate(errors);
}

void ModelSection::validate(std::vector<std::string>& errors) const {
  Limits(errors).require(!path.empty(), "path is missing: a Hugging Face folder");
}

void DataSection::validate(std::vector<std::string>& errors) const {
  Limits limits(errors);
  limits.require(!train.empty(), "train is missing: a corpus made by spt prepare");
  limits.between("max_tokens", max_tokens, 2);
}

void TrainSection::validate(std::vector<std::string>& errors) const {
  Limits limits(errors);
  limits.require(!(epochs && steps),
                 "epochs and train.steps are both given: keep one, and say null for the other (train.epochs=null)");
  limits.between("epochs", epochs, 1, 1'000'000);
  limits.between("steps", steps, 1);
  limits.between("batch_examples", batch_examples, 1, 1'000'000'000);
  limits.between("micro_batch_tokens", micro_batch_tokens, 1, 1'000'000'000);
  limits.between("max_bad_steps", max_bad_steps, 1);
}

void CheckpointSection::validate(std::vector<std::string>& errors) const {
  Limits limits(errors);
  limits.between("every_steps", every_steps, 1);
  limits.between("keep", keep, 1);
}

void RunConfig::validate(std::vector<std::string>& errors) const {
  if (!run.reproducible) return;
  const auto refuse = [&](bool given, const char* what) {
    if (given) errors.push_back(fmt::format("run.reproducible goes with {} only", what));
  };
  refuse(optimizer.zero != ZeroStage::kState, "optimizer.zero=1");
  refuse(optimizer.grad_dtype != GradDtype::kFp32, "optimizer.grad_dtype=fp32");
  refuse(mesh.overlap == CommOverlap::kOn, "mesh.overlap=off or auto");
}

Packing packing_of(const RunConfig& config) {
  return {config.train.micro_batch_tokens, config.data.packing, config.run.reproducible};
}

RunConfig load_run_config(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  RunConfig config = read_fields<RunConfig>(load_config_values(file, overrides));
  if (!config.train.epochs && !config.train.steps) config.train.epochs = 5;
  if (config.run.reproducible) config.mesh.overlap = CommOverlap::kOff;
  return config;
}

void watch_computing(const TimeLimits& limits) {
  watch_collectives(limits.collective_timeout_s, "run.collective_timeout_s");
}

void watch_files(const TimeLimits& limits) {
  watch_collectives(limits.io_timeout_s, "run.io_timeout_s", Phase::kFiles);
}

void watch_uneven(const TimeLimits& limits) {
  watch_collectives(limits.collective_timeout_s, "run.collective_timeout_s", Phase::kUneven);
}

bool shards_gradients(const RunConfig& config, int dp) {
  return config.optimizer.zero == ZeroStage::kGradients && dp > 1;
}

CausalLm::Memory model_memory(const RunConfig& config, at::ScalarType dtype, int dp, bool overlap) {
  // What a rank owns of a bucket begins on a full cache line, or with a block of exact sums.
  const int64_t multiple = config.run.reproducible ? kExactBlock : 64;
  const at::ScalarType grad_dtype = config.optimizer.grad_dtype == GradDtype::kFp32 ? at::kFloat : at::kBFloat16;
  const bool is_sharded = shards_gradients(config, dp);
  return {{dtype, grad_dtype, dp * multiple, is_sharded ? (overlap ? 2 : 1) : 0},
          config.model.recompute,
          config.model.sequence_parallel};
}

// What has no influence on the weights that come out (but for the order of floating-point sums).
bool may_change_on_resume(const std::string& key) {
  static constexpr const char* kSections[] = {"mesh.", "checkpoint."};
  static constexpr const char* kKeys[] = {"run.dir",
                                          "run.log_every",
                                          "run.collective_timeout_s",
                                          "run.io_timeout_s",
                                          "model.recompute",
                                          "model.sequence_parallel",
                                          "model.attention",
                                          "train.micro_batch_tokens",
                                          "train.max_bad_steps",
                                          "optimizer.zero",
                                          "optimizer.offload"};
  return std::any_of(std::begin(kSections), std::end(kSections), [&](const char* s) { return key.starts_with(s); }) ||
         std::any_of(std::begin(kKeys), std::end(kKeys), [&](const char* k) { return key == k; });
}

namespace {

template <class F>
std::vector<std::string> differences_where(const RunConfig& there, const RunConfig& now, F&& counts) {
  const auto before = values_of(there), after = values_of(now);
  std::vector<std::string> found;
  for (const auto& [key, value] : after)
    if (counts(key) && before.at(key) != value)
      found.push_back(fmt::format("{}: {} there, {} now", key, before.at(key), value));
  return found;
}

}  // namespace

std::vector<std::string> differing_values(const RunConfig& there, const RunConfig& now) {
  return differences_where(there, now, [](const std::string& key) { return key != "run.dir"; });
}

std::vector<std::string> differences(const RunConfig& there, const RunConfig& now) {
  // What changes the order of floating-point sums in a micro-batch.
  static constexpr const char* kOrder[] = {"mesh.tp", "model.recompute", "model.sequence_parallel",
                                           "train.micro_batch_tokens"};
  return differences_where(there, now, [&](const std::string& key) {
    return !may_change_on_resume(key) || (now.run.reproducible && std::any_of(std::begin(kOrder), std::end(kOrder),
                                                                              [&](const char* k) { return key == k; }));
  });
}

}  // namespace spt
