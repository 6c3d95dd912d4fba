#include "trainer/eval_portions.h"

#include <algorithm>

namespace spt {
namespace {

// Fewer in a pass cost the matrix products speed.
constexpr int64_t kLeastPassTokens = 256;

// Tokens of the examples in front of a question, about.
int64_t shots_tokens(const EvalInputs& inputs, const EvalItem& item) {
  const std::string& shots = shots_of(inputs, item);
  return shots.empty() ? 0 : static_cast<int64_t>(inputs.prompter.prompt(shots, std::nullopt).size());
}

}  // namespace

std::vector<Portion> deal_passes(const std::vector<PassItem>& items, int64_t pass_tokens, int ranks) {
  std::vector<Portion> portions;
  int64_t remaining = 0, left = 0;  // of all; of the last portion
  for (const PassItem& item : items) remaining += item.tokens;
  for (const PassItem& item : items) {
    if (item.is_first || item.tokens > left) {
      portions.push_back({true, {}});
      left = ranks == 1 ? pass_tokens
                        : std::min(pass_tokens, std::max(kLeastPassTokens, remaining / (int64_t{2} * ranks)));
    }
    portions.back().items.push_back(item.item);
    left -= item.tokens;
    remaining -= item.tokens;
  }
  return portions;
}

std::vector<Portion> portions_of(const EvalInputs& inputs, const std::set<SampleKey>& known, int64_t pass_tokens,
                                 bool examples_are_shared, int ranks) {
  std::vector<PassItem> measured;
  std::vector<size_t> answers;
  int64_t shared = 0;
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
    const bool is_first = shots != &shots_of(inputs, item) || task_of_pass != item.task;
    if (is_first) {
      task_of_pass = item.task;
      shots = &shots_of(inputs, item);
      shared = shots_tokens(inputs, item);
    }
    const bool leaves_out = examples_are_shared && !item.given_role;
    measured.push_back({i, std::max<int64_t>(1, leaves_out ? item.tokens - shared : item.tokens), is_first});
  }
  std::vector<Portion> portions = deal_passes(measured, pass_tokens, ranks);
  std::stable_sort(answers.begin(), answers.end(),
                   [&](size_t a, size_t b) { return inputs.items[a].tokens > inputs.items[b].tokens; });
  for (const size_t i : answers) portions.push_back({false, {i}});
  return portions;
}

}  // namespace spt
