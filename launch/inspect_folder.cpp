#include "launch/inspect_folder.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "data/config_file.h"
#include "trainer/run_config.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

template <class T>
inline constexpr bool kIsText = std::is_same_v<T, std::string> || std::is_same_v<T, fs::path> || std::is_enum_v<T>;
template <class T>
inline constexpr bool kIsText<std::optional<T>> = kIsText<T>;
template <class T>
inline constexpr bool kIsText<std::vector<T>> = kIsText<T>;

// The dotted keys whose values are text, also one like "1e5".
struct TextKeys {
  template <class T>
  void operator()(const char* name, T& field, const char* /*help*/) {
    if constexpr (fields_detail::HasFields<T>) {
      const std::string outer = std::exchange(prefix, prefix + name + ".");
      field.fields(*this);
      prefix = outer;
    } else if constexpr (kIsText<T>) {
      keys.insert(prefix + name);
    }
  }
  std::string prefix;
  std::set<std::string> keys;
};

ordered_json typed(const std::string& text, bool is_text) {
  ordered_json value = ordered_json::parse(text, nullptr, false);
  return !is_text && (value.is_number() || value.is_boolean()) ? value : ordered_json(text);
}

int64_t count_lines(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::count(std::istreambuf_iterator<char>(file), {}, '\n');
}

}  // namespace

ordered_json typed_config(const fs::path& run) {
  RunConfig defaults;
  TextKeys text;
  defaults.fields(text);
  ordered_json config;
  for (const auto& [key, value] : load_config_values(run / "config.yaml", {})) {
    const bool is_text = text.keys.contains(key);
    ordered_json& written = config[key];
    if (value.is_list) {
      written = ordered_json::array();
      for (const std::string& item : value.items) written.push_back(typed(item, is_text));
    } else if (!value.items.empty()) {
      written = typed(value.items[0], is_text);
    }
  }
  return config;
}

ordered_json describe_evaluation(const fs::path& folder) {
  const fs::path path = folder / "results.json";
  std::ifstream file(path);
  const ordered_json results = ordered_json::parse(file, nullptr, false);
  if (!results.is_object() || !results.contains("tasks") || !results["tasks"].is_object())
    throw BadInput(fmt::format("{}: is not what spt eval writes: a JSON object with \"tasks\"", path.string()));
  ordered_json out = {{"path", folder.string()}, {"kind", "evaluation"}};
  for (const auto& [key, value] : results.items())
    if (key != "tasks") out[key] = value;
  out["tasks"] = results["tasks"];
  std::vector<fs::path> samples;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder / "samples", none)) samples.push_back(entry.path());
  std::sort(samples.begin(), samples.end());
  out["samples"] = ordered_json::array();
  for (const fs::path& sample : samples)
    out["samples"].push_back({{"file", sample.lexically_relative(folder).string()}, {"answers", count_lines(sample)}});
  return out;
}

}  // namespace spt
