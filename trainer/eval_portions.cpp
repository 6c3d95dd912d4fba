#include "trainer/eval_portions.h"

#include <algorithm>

namespace spt {
namespace {

// Tokens of the examples in front of a question, about.
int64_t shots_tokens(const EvalInputs& inputs, const EvalItem& item) {
  const std::string& shots = shots_of(inputs, item);
  return shots.empty() ? 0 : static_cast<int64_t>(inputs.prompter.prompt(shots, std::nullopt).size());
}

}  // namespace

std::vector<Portion> portions_of(const EvalInputs& inputs, const std::set<SampleKey>& known, int64_t pass_tokens,
                                 bool examples_are_shared) {
  std::vector<Portion> portions;
  std::vector<size_t> answers;
  int64_t left = 0, shared = 0;  // of the last portion
  const std::string* shots = nullptr;
  size_t task_of_pass = inputs.tasks.size();
  for (size_t i = 0; i < inputs.items.size(); ++i) {
    const EvalItem& item = inputs.items[i];
    const Task& task = inputs.tasks[item.task];
    if (known.contains({task.name, item.item.id})) continue;
    if (task.kind != TaskKind::kChoice && task.kind != TaskKind::kPerplexity) {
      answers.push_back(i);
      continue;
    }
    if (shots != &shots_of(inputs, item) || task_of_pass != item.task) {
      task_of_pass = item.task;
      shots = &shots_of(inputs, item);
      shared = shots_tokens(inputs, item);
      left = 0;
    }
    const bool leaves_out = examples_are_shared && !item.given_role;
    const int64_t own = std::max<int64_t>(1, leaves_out ? item.tokens - shared : item.tokens);
    if (own > left) {
      portions.push_back({true, {}});
      left = pass_tokens;
    }
    portions.back().items.push_back(i);
    left -= own;
  }
  std::stable_sort(answers.begin(), answers.end(),
                   [&](size_t a, size_t b) { return inputs.items[a].tokens > inputs.items[b].tokens; });
  for (const size_t i : answers) portions.push_back({false, {i}});
  return portions;
}

}  // namespace spt
