// Samples of a task → its line in results.json.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "trainer/eval/task.h"

namespace spt {

// {"metric", "value" (mean of the scores), "standard_error" (over items), "n"} and, where they apply, "role_share",
// "nothing_extracted_share", "cut_share", "mean_output_tokens", "accuracy", "accuracy_normalised", "groups" ({NAME:
// {"value", "n"}}) and "mean_over_groups". Kind open has no score: its metric is "none" and its value null.
nlohmann::ordered_json summarise(const Task& task, const std::vector<nlohmann::ordered_json>& samples);

// One line for the terminal: "gsm8k: exact_match 0.1250 ± 0.0369 over 80 items, with a role 1.00, nothing extracted
// 0.02".
std::string describe_result(const std::string& task, const nlohmann::ordered_json& result);

}  // namespace spt
