// What is kept of each item: a line of samples/TASK.jsonl.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "trainer/eval/answers.h"
#include "trainer/eval/perplexity.h"
#include "trainer/eval_inputs.h"

namespace spt {

// Kind choice: task, id, group, prompt, role, options, loglikelihoods, extracted (the letter of the best option by the
// task's metric), gold, score, score_raw, score_normalised (1 where that measure's best option is gold; normalised: a
// character of what is scored).
nlohmann::ordered_json choice_sample(const EvalInputs& inputs, const EvalItem& item,
                                     const std::vector<double>& loglikelihoods);

// Kind perplexity: task, id (the row), nll, trained_tokens.
nlohmann::ordered_json loss_sample(const EvalInputs& inputs, const EvalItem& item, const ExampleLoss& loss);

// Kinds generate, code and open: task, id, group, prompt, output, role (the model's own or the given one, else null),
// role_is_given, own_role (beside a given one), answer, tokens, cut; where there is a right answer, conclusion,
// extracted (null: nothing), rule, gold, score. Kind code runs what was written: extracted is the module, rule how it
// was found, outcome what became of it, printed the end of what it printed.
nlohmann::ordered_json answer_sample(const EvalInputs& inputs, const EvalItem& item, const Answer& answer);

// What a sample of this task, read from a file, lacks or has wrongly, for a message; "" where it is as one of the
// above.
std::string fault_of(const Task& task, const nlohmann::ordered_json& sample);

}  // namespace spt
