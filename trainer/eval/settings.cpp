#include "trainer/eval/settings.h"

#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "data/json_text.h"

namespace spt {

std::vector<std::string> differing_settings(const std::vector<EvaluationSettings>& evaluations) {
  std::map<std::string, std::set<std::string>> values;
  for (const EvaluationSettings& evaluation : evaluations) {
    if (!evaluation.values.is_object()) continue;
    for (const auto& [key, value] : evaluation.values.items()) values[key].insert(value.dump());
  }
  std::vector<std::string> keys;
  for (const auto& [key, found] : values)
    if (found.size() > 1) keys.push_back(key);
  return keys;
}

std::vector<std::string> notes_of_settings(const std::vector<EvaluationSettings>& evaluations) {
  std::vector<std::string> notes;
  for (const std::string& key : differing_settings(evaluations)) {
    std::vector<std::string> values;
    for (const EvaluationSettings& evaluation : evaluations)
      if (evaluation.values.is_object() && evaluation.values.contains(key))
        values.push_back(fmt::format("{} in {}", brief(evaluation.values[key]), evaluation.name));
    notes.push_back(fmt::format("measured with another {}: {}", key, fmt::join(values, ", ")));
  }
  return notes;
}

}  // namespace spt
