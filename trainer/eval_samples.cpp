#include "trainer/eval_samples.h"

#include <algorithm>

#include <fmt/format.h>

#include "data/json_text.h"
#include "data/utf8.h"
#include "trainer/eval/code.h"
#include "trainer/eval/extract.h"
#include "trainer/eval/sandbox.h"

namespace spt {
namespace {

using nlohmann::ordered_json;

ordered_json begin_sample(const EvalInputs& inputs, const EvalItem& item) {
  ordered_json sample = {{"task", inputs.tasks[item.task].name}, {"id", item.item.id}};
  if (!item.item.group.empty()) sample["group"] = item.item.group;
  sample["prompt"] = item.item.prompt;
  return sample;
}

// Code points of UTF-8.
int64_t characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

std::string outcome_of(SandboxStatus status) {
  switch (status) {
    case SandboxStatus::kPassed:
      return "passed";
    case SandboxStatus::kTimeLimit:
      return "time limit";
    case SandboxStatus::kOutputLimit:
      return "output limit";
    case SandboxStatus::kFailed:
      break;
  }
  return "failed";
}

void add_code_score(ordered_json& sample, const TaskCode& task, const std::string& answer, bool sandboxed) {
  const auto found = extract_code(answer, task.prompt, task.entry_point);
  SandboxResult result;
  if (found) result = run_python(humaneval_program(found->code, task.test, task.entry_point), {}, sandboxed);
  constexpr size_t kShown = 2000;
  const size_t cut = result.output.size() > kShown ? result.output.size() - kShown : 0;
  sample["extracted"] = found ? ordered_json(found->code) : ordered_json();
  sample["rule"] = found ? ordered_json(to_string(found->rule)) : ordered_json();
  sample["outcome"] = found ? outcome_of(result.status) : "nothing to run";
  sample["printed"] = utf8_replace_invalid(result.output.substr(cut));
  sample["gold"] = "passed";
  sample["score"] = found && result.status == SandboxStatus::kPassed ? 1 : 0;
}

size_t best(const std::vector<double>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace

ordered_json choice_sample(const EvalInputs& inputs, const EvalItem& item, const std::vector<double>& loglikelihoods) {
  const Task& task = inputs.tasks[item.task];
  std::vector<double> normalised = loglikelihoods;
  for (size_t i = 0; i < normalised.size(); ++i)
    normalised[i] /= static_cast<double>(
        std::max<int64_t>(1, task.options.say == OptionSay::kLetter ? 1 : characters(item.item.options[i])));
  const std::string raw_letter = option_letter(best(loglikelihoods)), letter = option_letter(best(normalised));
  const int raw = raw_letter == item.item.gold, norm = letter == item.item.gold;
  const bool is_normalised = task.metric == ChoiceMetric::kAccuracyNormalised;
  ordered_json sample = begin_sample(inputs, item);
  sample["role"] = item.given_role ? ordered_json(*item.given_role) : ordered_json();
  sample["options"] = item.item.options;
  sample["loglikelihoods"] = loglikelihoods;
  sample["extracted"] = is_normalised ? letter : raw_letter;
  sample["gold"] = item.item.gold;
  sample["score"] = is_normalised ? norm : raw;
  sample["score_raw"] = raw;
  sample["score_normalised"] = norm;
  return sample;
}

ordered_json loss_sample(const EvalInputs& inputs, const EvalItem& item, const ExampleLoss& loss) {
  return {{"task", inputs.tasks[item.task].name},
          {"id", item.item.id},
          {"nll", loss.nll},
          {"trained_tokens", loss.trained_tokens}};
}

ordered_json answer_sample(const EvalInputs& inputs, const EvalItem& item, const Answer& answer) {
  const Task& task = inputs.tasks[item.task];
  ordered_json sample = begin_sample(inputs, item);
  const auto& role = item.given_role ? item.given_role : answer.text.role;
  sample["output"] = answer.text.output;
  sample["role"] = role ? ordered_json(*role) : ordered_json();
  sample["role_is_given"] = item.given_role.has_value();
  // Beside one that stands in the system line or the user's turn.
  if (item.given_role && answer.text.role) sample["own_role"] = *answer.text.role;
  sample["answer"] = answer.text.answer;
  sample["tokens"] = answer.tokens;
  sample["cut"] = answer.cut;
  if (task.kind == TaskKind::kOpen) return sample;
  if (task.kind == TaskKind::kCode) {
    add_code_score(sample, item.item.code, answer.text.answer, inputs.sandboxed);
    return sample;
  }
  const std::string& text = task.trigger.empty() ? answer.text.answer : answer.conclusion;
  const auto found = Extractor(task.extract).find(text, static_cast<int64_t>(item.item.options.size()));
  sample["conclusion"] = answer.conclusion;
  sample["extracted"] = found ? ordered_json(found->value) : ordered_json();
  sample["rule"] = found ? ordered_json(found->rule) : ordered_json();
  sample["gold"] = item.item.gold;
  sample["score"] = found && found->value == item.item.gold ? 1 : 0;
  return sample;
}

std::string fault_of(const Task& task, const ordered_json& sample) {
  std::string fault;
  const auto require = [&](const char* key, const char* expected, auto&& holds) {
    const auto found = sample.find(key);
    if (!fault.empty() || (found != sample.end() && holds(*found))) return;
    fault = found == sample.end() ? fmt::format("without {}", key)
                                  : fmt::format("{} is {}, expected {}", key, brief(*found), expected);
  };
  const auto is_text = [](const ordered_json& value) { return value.is_string(); };
  const auto is_text_or_null = [](const ordered_json& value) { return value.is_string() || value.is_null(); };
  const auto is_flag = [](const ordered_json& value) { return value.is_boolean(); };
  const auto is_count = [](const ordered_json& value) { return value.is_number_integer() && value >= 0; };
  const auto is_score = [](const ordered_json& value) { return value.is_number() && value >= 0 && value <= 1; };
  const auto is_loss = [](const ordered_json& value) { return value.is_number() && value >= 0 && value < 1e300; };
  if (task.kind == TaskKind::kPerplexity) {
    require("nll", "a number from 0", is_loss);
    require("trained_tokens", "a whole number from 0", is_count);
    return fault;
  }
  require("prompt", "text", is_text);
  require("role", "text or null", is_text_or_null);
  if (!task.group.empty()) require("group", "text", is_text);
  if (task.kind != TaskKind::kOpen) {
    require("gold", "text", is_text);
    require("extracted", "text or null", is_text_or_null);
    require("score", "a number from 0 to 1", is_score);
  }
  if (task.kind == TaskKind::kChoice) {
    require("score_raw", "a number from 0 to 1", is_score);
    require("score_normalised", "a number from 0 to 1", is_score);
  } else {
    require("output", "text", is_text);
    require("answer", "text", is_text);
    require("cut", "true or false", is_flag);
    require("tokens", "a whole number from 0", is_count);
  }
  return fault;
}

}  // namespace spt
