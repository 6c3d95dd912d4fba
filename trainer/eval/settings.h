// How evaluations were made, as results.json says it under "settings".
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace spt {

struct EvaluationSettings {
  std::string name;       // of the evaluation, for people
  nlohmann::json values;  // no object where the file has none
};

// The keys that are not the same in all that say them, in order; an older evaluation may not say some.
std::vector<std::string> differing_settings(const std::vector<EvaluationSettings>& evaluations);

// One line for each of them: "measured with another role: "self" in A, "none" in B".
std::vector<std::string> notes_of_settings(const std::vector<EvaluationSettings>& evaluations);

}  // namespace spt
