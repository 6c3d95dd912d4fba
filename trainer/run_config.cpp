#include "trainer/run_config.h"

#include <algorithm>
#include <map>

#include "data/config_file.h"

namespace spt {
namespace {

// What has no influence on the weights that come out (but for the order of floating-point sums).
bool may_change_on_resume(const std::string& key) {
  static constexpr const char* kSections[] = {"mesh.", "checkpoint."};
  static constexpr const char* kKeys[] = {"run.dir",          "run.log_every",   "run.collective_timeout_s",
                                          "run.io_timeout_s", "model.recompute", "train.micro_batch_tokens"};
  return std::any_of(std::begin(kSections), std::end(kSections), [&](const char* s) { return key.starts_with(s); }) ||
         std::any_of(std::begin(kKeys), std::end(kKeys), [&](const char* k) { return key == k; });
}

std::map<std::string, std::string> values_of(const RunConfig& config) {
  FieldLister lister;
  const_cast<RunConfig&>(config).fields(lister);  // the visitor only reads
  std::map<std::string, std::string> values;
  for (const auto& line : lister.lines()) values[line.key] = line.value;
  return values;
}

}  // namespace

at::ScalarType scalar_type(Dtype dtype, at::Device device) {
  if (dtype == Dtype::kAuto) return device.is_cpu() ? at::kFloat : at::kBFloat16;
  return dtype == Dtype::kFp32 ? at::kFloat : at::kBFloat16;
}

void RunConfig::validate(std::vector<std::string>& errors) const {
  const auto require = [&](bool holds, const std::string& message) {
    if (!holds) errors.push_back(message);
  };
  const auto at_least = [&](const char* key, auto value, auto limit) {
    require(value >= limit, fmt::format("{} is {}, must be at least {}", key, value, limit));
  };
  const auto fraction = [&](const char* key, double value) {
    require(value >= 0 && value < 1, fmt::format("{} is {}, must be at least 0 and below 1", key, value));
  };
  require(!run.dir.empty(), "run.dir is missing: name the run's folder, e.g. run.dir=runs/first");
  require(!model.path.empty(), "model.path is missing: a Hugging Face folder");
  require(!data.train.empty(), "data.train is missing: a corpus made by spt prepare");
  at_least("run.log_every", run.log_every, 1);
  at_least("run.collective_timeout_s", run.collective_timeout_s, 0.0);
  at_least("run.io_timeout_s", run.io_timeout_s, 0.0);
  at_least("mesh.tp", mesh.tp, 1);
  if (data.max_tokens) at_least("data.max_tokens", *data.max_tokens, 2);
  require(optimizer.lr > 0, fmt::format("optimizer.lr is {}, must be above 0", optimizer.lr));
  require(optimizer.eps > 0, fmt::format("optimizer.eps is {}, must be above 0", optimizer.eps));
  require(optimizer.betas.size() == 2,
          fmt::format("optimizer.betas has {} values, must have 2", optimizer.betas.size()));
  for (const double beta : optimizer.betas) fraction("optimizer.betas", beta);
  at_least("optimizer.weight_decay", optimizer.weight_decay, 0.0);
  at_least("optimizer.clip_norm", optimizer.clip_norm, 0.0);
  at_least("schedule.warmup_steps", schedule.warmup_steps, int64_t{0});
  at_least("schedule.final_lr", schedule.final_lr, 0.0);
  require(!(train.epochs && train.steps), "train.epochs and train.steps are both given: keep one");
  if (train.epochs) at_least("train.epochs", *train.epochs, 1);
  if (train.steps) at_least("train.steps", *train.steps, 1);
  at_least("train.batch_examples", train.batch_examples, 1);
  at_least("train.micro_batch_tokens", train.micro_batch_tokens, 1);
  if (checkpoint.every_steps) at_least("checkpoint.every_steps", *checkpoint.every_steps, 1);
  at_least("checkpoint.keep", checkpoint.keep, 1);
}

RunConfig load_run_config(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  RunConfig config = read_fields<RunConfig>(load_config_values(file, overrides));
  if (!config.train.epochs && !config.train.steps) config.train.epochs = 5;
  return config;
}

std::vector<std::string> differences(const RunConfig& there, const RunConfig& now) {
  const auto before = values_of(there), after = values_of(now);
  std::vector<std::string> found;
  for (const auto& [key, value] : after)
    if (!may_change_on_resume(key) && before.at(key) != value)
      found.push_back(fmt::format("{}: {} there, {} now", key, before.at(key), value));
  return found;
}

}  // namespace spt
