#include "trainer/typed_config.h"

#include <set>
#include <type_traits>
#include <vector>

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

}  // namespace spt
