#include "trainer/sweep_points.h"

#include <algorithm>
#include <cctype>
#include <map>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "data/config_file.h"
#include "data/field_text.h"
#include "trainer/checkpoint_files.h"
#include "trainer/eval_config.h"
#include "trainer/eval_inputs.h"
#include "trainer/run_config.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kLongestName = 150;  // a folder's; file systems take 255 bytes

class Filler {
 public:
  explicit Filler(const SweepConfig& config) : names_{{"dir", config.dir.string()}} {
    for (const auto& [name, value] : config.inputs) names_[name] = value.items.at(0);
  }
  Filler& with(const char* name, const std::string& value) {
    names_[name] = value;
    return *this;
  }

  std::string text(const std::string& text) const try {
    return FieldText(text).fill(names_);
  } catch (const BadInput& error) {
    std::vector<std::string> known;
    for (const auto& [name, value] : names_.items()) known.push_back("{" + name + "}");
    throw BadInput(
        fmt::format("'{}' {}; known here: {} (inputs.NAME adds one)", text, error.what(), fmt::join(known, ", ")));
  }
  // "optimizer.lr=1e-4", as the command line takes it.
  std::string override_of(const std::string& key, ConfigValue value) const {
    try {
      for (std::string& item : value.items) item = text(item);
    } catch (const BadInput& error) {
      throw BadInput(fmt::format("{}: {}: {}", value.where, key, error.what()));
    }
    return key + "=" + format_value(value);
  }
  void add(const Named<ConfigValue>& section, std::vector<std::string>& overrides) const {
    for (const auto& [key, value] : section) overrides.push_back(override_of(key, value));
  }

 private:
  json names_;
};

// A value as part of a folder's name.
std::string in_name(std::string text) {
  for (char& c : text)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '+' && c != '-') c = '-';
  return text;
}

// A key's last word, or all of it where another key of the grid ends so too.
std::string short_name(const Named<ConfigValue>& grid, const std::string& key) {
  const auto last = [](const std::string& dotted) { return dotted.substr(dotted.rfind('.') + 1); };
  const auto same = std::count_if(grid.begin(), grid.end(), [&](const auto& e) { return last(e.first) == last(key); });
  return same == 1 ? last(key) : key;
}

struct Setting {
  std::string name;
  std::vector<std::string> overrides;
};

// Every combination of the grid's values; one without any where there is no grid.
std::vector<Setting> combinations(const SweepConfig& config, const Filler& filler) {
  std::vector<Setting> all(1);
  for (const auto& [key, values] : config.grid) {
    std::vector<Setting> longer;
    for (const Setting& setting : all)
      for (const std::string& item : values.items) {
        Setting& next = longer.emplace_back(setting);
        next.name += (next.name.empty() ? "" : "_") + short_name(config.grid, key) + "-" + in_name(item);
        next.overrides.push_back(filler.override_of(key, {{item}, false, values.where}));
      }
    all = std::move(longer);
  }
  return all;
}

void join(std::string& name, const std::string& part) {
  if (!part.empty()) name += (name.empty() ? "" : "_") + part;
}

void check_distinct(const std::vector<SweepPoint>& points) {
  std::map<std::string, const SweepPoint*> by_name;
  std::map<std::vector<std::string>, const SweepPoint*> by_values;
  for (const SweepPoint& point : points) {
    if (point.name.size() > kLongestName)
      throw BadInput(fmt::format("the name of point {} is {} bytes long, at most {}: give its values a name in points",
                                 point.name, point.name.size(), kLongestName));
    if (!by_name.emplace(point.name, &point).second)
      throw BadInput(fmt::format("two points would be called {}: name them in points", point.name));
    std::vector<std::string> values = point.overrides;
    std::sort(values.begin(), values.end());
    const auto [same, is_new] = by_values.emplace(std::move(values), &point);
    if (!is_new)
      throw BadInput(fmt::format("points {} and {} have the same values: keep one", same->second->name, point.name));
  }
}

// What `set` gives to all, but where the point has its own.
void add_common(const SweepConfig& config, const Filler& filler, SweepPoint& point) {
  std::vector<std::string> all;
  for (const auto& [key, value] : config.set)
    if (std::none_of(point.overrides.begin(), point.overrides.end(),
                     [&](const std::string& own) { return own.starts_with(key + "="); }))
      all.push_back(filler.override_of(key, value));
  all.insert(all.end(), point.overrides.begin(), point.overrides.end());
  point.overrides = std::move(all);
}

// The last checkpoint's hf/.
fs::path model_of(const fs::path& run) {
  int64_t last = -1;
  fs::path found = run / "checkpoints" / "step-N";
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", none))
    if (const auto step = step_of(entry.path()); step && *step > last) last = *step, found = entry.path();
  return found / "hf";
}

bool is_below(const fs::path& path, const fs::path& folder) {
  const fs::path relative =
      fs::absolute(path).lexically_normal().lexically_relative(fs::absolute(folder).lexically_normal());
  return !relative.empty() && *relative.begin() != "..";
}

std::vector<std::string> split_words(const std::string& line) {
  std::vector<std::string> words;
  bool inside = false;
  char quote = 0;
  for (const char c : line) {
    if (quote == 0 && (c == ' ' || c == '\t' || c == '\n')) {
      inside = false;
      continue;
    }
    if (!inside) words.emplace_back();
    inside = true;
    if (quote == 0 && (c == '"' || c == '\''))
      quote = c;
    else if (c == quote)
      quote = 0;
    else
      words.back() += c;
  }
  if (quote != 0) throw BadInput(fmt::format("'{}': a quote without its other", line));
  return words;
}

}  // namespace

std::vector<SweepPoint> expand_points(const SweepConfig& config) {
  const Filler filler(config);
  const std::vector<Setting> grid = combinations(config, filler);
  const Named<Named<ConfigValue>> nothing{{"", {}}};
  std::vector<std::optional<uint64_t>> seeds(config.seeds.begin(), config.seeds.end());
  if (seeds.empty()) seeds.emplace_back();
  std::vector<SweepPoint> points;
  for (const auto& seed : seeds)
    for (const Setting& setting : grid)
      for (const auto& [name, values] : config.points.empty() ? nothing : config.points) {
        SweepPoint& point = points.emplace_back(SweepPoint{"", name, setting.name, seed, {}});
        join(point.name, name);
        join(point.name, setting.name);
        if (seed) join(point.name, fmt::format("seed-{}", *seed));
        filler.add(values, point.overrides);
        point.overrides.insert(point.overrides.end(), setting.overrides.begin(), setting.overrides.end());
        if (seed) point.overrides.push_back(fmt::format("run.seed={}", *seed));
      }
  check_distinct(points);
  for (SweepPoint& point : points) add_common(config, filler, point);
  return points;
}

std::vector<SweepCommand> point_commands(const SweepConfig& config, const SweepPoint& point) {
  const auto path_override = [](const char* key, const fs::path& path) {
    return std::string(key) + "=" + format_value({{path.string()}, false, ""});
  };
  const fs::path folder = config.dir / point.name;
  const Filler filler = Filler(config).with("point", folder.string());
  SweepCommand train{"train", filler.text(config.train.string()), {"train", filler.text(config.train.string())}};
  train.arguments.insert(train.arguments.end(), point.overrides.begin(), point.overrides.end());
  train.arguments.push_back(path_override("run.dir", folder));
  std::vector<SweepCommand> commands{std::move(train)};
  for (const auto& [name, evaluation] : config.evaluations) {
    const std::string file = filler.text(evaluation.config.string());
    SweepCommand& command = commands.emplace_back(SweepCommand{name, file, {"eval", file}});
    filler.add(evaluation.set, command.arguments);
    command.arguments.push_back(path_override("model.path", model_of(folder)));
    command.arguments.push_back(path_override("run.dir", folder / name));
  }
  return commands;
}

void check_points(const SweepConfig& config, const std::vector<SweepPoint>& points) {
  for (const SweepPoint& point : points)
    for (const SweepCommand& command : point_commands(config, point)) try {
        const std::vector<std::string> overrides(command.arguments.begin() + 2, command.arguments.end());
        if (command.step == "train")
          load_run_config(command.config, overrides);
        else
          read_fields<EvalConfig>(load_config_values(command.config, overrides));
      } catch (const BadInput& error) {
        throw BadInput(fmt::format("point {}, {}: {}", point.name, command.step, error.what()));
      }
}

void check_tasks(const SweepConfig& config, const std::vector<SweepPoint>& points) {
  for (const SweepCommand& command : point_commands(config, points.at(0))) try {
      if (command.step == "train") continue;
      const auto evaluation = read_fields<EvalConfig>(
          load_config_values(command.config, {command.arguments.begin() + 2, command.arguments.end()}));
      const std::vector<Task> tasks = load_tasks(evaluation);
      if (is_below(evaluation.eval.data.root, config.dir)) continue;  // `prepare` may make it
      for (const Task& task : tasks)
        if (task.kind != TaskKind::kPerplexity) read_items(task, evaluation.eval.data.root);
    } catch (const BadInput& error) {
      throw BadInput(fmt::format("evaluation {}: {}", command.step, error.what()));
    }
}

std::vector<std::string> command_words(const SweepConfig& config, const std::vector<SweepPoint>& points,
                                       const std::string& line) {
  const Filler filler(config);
  std::vector<std::string> names{""}, words;
  for (const auto& [name, values] : config.points) names.push_back(name);
  for (const std::string& word : split_words(line)) {
    const auto every = [](const std::string& name) { return name.empty() ? "{every}" : "{every." + name + "}"; };
    const auto name = std::find_if(names.begin(), names.end(),
                                   [&](const auto& n) { return word.find(every(n)) != std::string::npos; });
    if (name == names.end()) {
      words.push_back(filler.text(word));
      continue;
    }
    const size_t begin = word.find(every(*name)), end = begin + every(*name).size();
    for (const SweepPoint& point : points)
      if (name->empty() || point.of == *name)
        words.push_back(filler.text(word.substr(0, begin)) + (config.dir / point.name).string() +
                        filler.text(word.substr(end)));
  }
  if (words.empty()) throw BadInput("an empty command line in prepare or after");
  return words;
}

std::vector<fs::path> outputs_of(const std::vector<std::string>& words) {
  std::vector<fs::path> outputs;
  for (size_t i = 0; i + 1 < words.size(); ++i)
    if (words[i] == "--out" || words[i] == "--valid-out") outputs.emplace_back(words[i + 1]);
  if (outputs.empty())
    throw BadInput(fmt::format("prepare: '{}' has no --out, by which it is known to be done", fmt::join(words, " ")));
  return outputs;
}

}  // namespace spt
