#include "trainer/sweep_config.h"

#include <algorithm>
#include <cctype>
#include <set>

#include <fmt/format.h>

#include "data/config_file.h"

namespace spt {
namespace {

// Names become those of files and folders.
bool is_word(const std::string& name) {
  return !name.empty() && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

template <class T>
bool has_name(const Named<T>& section, const std::string& name) {
  return std::any_of(section.begin(), section.end(), [&](const auto& entry) { return entry.first == name; });
}

class Check {
 public:
  Check(const SweepConfig& config, std::vector<std::string>& errors) : config_(config), errors_(errors) {}

  void all() {
    require(!config_.dir.empty(), "dir is missing: name the sweep's folder, e.g. dir=runs/study");
    require(!config_.train.empty(), "train is missing: a configuration of spt train");
    require(!config_.points.empty() || !config_.grid.empty() || !config_.seeds.empty(),
            "points, grid and seeds are all missing: nothing is varied");
    for (const auto& [key, value] : {std::pair("ranks", config_.ranks), std::pair("threads", config_.threads),
                                     std::pair("parallel", config_.parallel.value_or(1))})
      require(value >= 1 && value <= 100'000, fmt::format("{} is {}, must be 1 to 100000", key, value));
    inputs();
    words("points", config_.points);
    words("evaluations", config_.evaluations);
    words("compare", config_.compare);
    require(!has_name(config_.points, "compare"),
            "points.compare: compare is a folder of the sweep's own; choose another");
    for (const char* taken : {"train", "checkpoints", "tensorboard"})
      require(!has_name(config_.evaluations, taken),
              fmt::format("evaluations.{}: {} is a name of the run folder's own; choose another", taken, taken));
    varied();
    comparisons();
  }

 private:
  void require(bool holds, const std::string& message) {
    if (!holds) errors_.push_back(message);
  }
  template <class T>
  void words(const char* key, const Named<T>& section) {
    for (const auto& [name, value] : section)
      require(is_word(name), fmt::format("{}.{}: a name is made of letters, digits, _ and -", key, name));
  }
  void inputs() {
    for (const auto& [name, value] : config_.inputs) {
      require(is_word(name) && name != "dir" && name != "point" && name != "every",
              fmt::format("inputs.{}: a name is made of letters, digits, _ and -, and not dir, point or every", name));
      require(!value.is_list && value.items.size() == 1, fmt::format("inputs.{} takes one text", name));
    }
  }
  void varied() {
    std::set<std::string> keys{"run.dir"};
    if (!config_.seeds.empty()) keys.insert("run.seed");
    for (const auto& [key, value] : config_.set)
      require(!keys.contains(key), fmt::format("set.{}: the sweep gives it to each point", key));
    for (const auto& [key, value] : config_.grid) {
      require(value.is_list && !value.items.empty(), fmt::format("grid.{} takes a list of values", key));
      std::set<std::string> values(value.items.begin(), value.items.end());
      require(values.size() == value.items.size(), fmt::format("grid.{} has a value twice", key));
      require(keys.insert(key).second, fmt::format("grid.{}: the sweep gives it to each point", key));
    }
    for (const auto& [name, point] : config_.points)
      for (const auto& [key, value] : point)
        require(!keys.contains(key), fmt::format("points.{}.{} is varied by grid or seeds too: keep one", name, key));
    const std::set<uint64_t> seeds(config_.seeds.begin(), config_.seeds.end());
    require(seeds.size() == config_.seeds.size(), "seeds has a seed twice");
  }
  void comparisons() {
    for (const auto& [name, comparison] : config_.compare) {
      for (const auto& [side, point] : {std::pair("a", comparison.a), std::pair("b", comparison.b)})
        require(has_name(config_.points, point),
                fmt::format("compare.{}.{} is '{}', which is no name of points", name, side, point));
      require(comparison.a != comparison.b, fmt::format("compare.{}: a and b are the same point", name));
      require(!config_.evaluations.empty(), fmt::format("compare.{}: there are no evaluations to compare", name));
      for (const std::string& evaluation : comparison.evaluations)
        require(has_name(config_.evaluations, evaluation),
                fmt::format("compare.{}.evaluations has '{}', which is no name of evaluations", name, evaluation));
    }
  }

  const SweepConfig& config_;
  std::vector<std::string>& errors_;
};

}  // namespace

void SweepConfig::Evaluation::validate(std::vector<std::string>& errors) const {
  if (config.empty()) errors.emplace_back("config is missing: a configuration of spt eval");
  for (const auto& [key, value] : set)
    if (key == "run.dir" || key == "model.path")
      errors.push_back(fmt::format("set.{}: the sweep gives it to each evaluation", key));
}

void SweepConfig::validate(std::vector<std::string>& errors) const {
  Check(*this, errors).all();
}

SweepConfig load_sweep_config(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  return read_fields_of<SweepConfig>(file, load_config_values(file, overrides));
}

}  // namespace spt
