#include "trainer/eval/choice.h"

#include <algorithm>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include "trainer/eval/common_prefix.h"
#include "trainer/eval/log_probabilities.h"

namespace spt {
namespace {

// Reads what the prompts have in common into `shared`, as far as it is not there. The number of tokens that each may
// leave out then; the last one of a prompt is never among them.
int64_t read_shared(CausalLm& model, std::span<const ChoiceQuestion> questions, SharedPrefix& shared) {
  constexpr int64_t kWorthKeeping = 16, kWorthReading = 64;
  const std::vector<int32_t>& first = questions[0].prompt;
  auto common = static_cast<int64_t>(first.size());
  for (const ChoiceQuestion& question : questions)
    common =
        std::min({common, common_prefix(first, question.prompt), static_cast<int64_t>(question.prompt.size()) - 1});
  const int64_t kept = std::min(common, common_prefix(first, shared.ids));
  const bool is_enough = kept >= kWorthKeeping && common - kept < kWorthReading;
  if (!is_enough && (common < kWorthKeeping || questions.size() == 1)) return 0;
  if (!shared.cache) shared.cache = model.make_cache();
  shared.cache->length = kept;
  shared.ids.resize(static_cast<size_t>(kept));
  if (is_enough) return kept;
  shared.ids.assign(first.begin(), first.begin() + common);
  const std::vector<int64_t> rest(first.begin() + kept, first.begin() + common);
  KvCache* cache = &*shared.cache;
  model.hidden(at::tensor(rest, at::kLong), at::tensor({int64_t{0}, common - kept}, at::kInt), {&cache, 1});
  return common;
}

}  // namespace

int64_t ChoiceQuestion::tokens() const {
  auto count = static_cast<int64_t>(prompt.size());
  for (const auto& option : options) count += static_cast<int64_t>(option.size()) - 1;
  return count;
}

std::vector<std::vector<double>> option_loglikelihoods(CausalLm& model, std::span<const ChoiceQuestion> questions,
                                                       SharedPrefix* shared) {
  at::NoGradGuard no_grad;
  const int64_t past = shared && !questions.empty() ? read_shared(model, questions, *shared) : 0;
  std::vector<int64_t> ids, places, targets;  // place: of the token before a target
  std::vector<Branches> examples;
  for (const ChoiceQuestion& question : questions) {
    const auto begin = static_cast<int64_t>(ids.size());
    Branches branches{static_cast<int64_t>(question.prompt.size()) - past, {}};
    ids.insert(ids.end(), question.prompt.begin() + past, question.prompt.end());
    for (const auto& option : question.options) {
      // The first token follows the prompt; the last one is predicted, not read.
      places.push_back(begin + branches.prefix - 1);
      for (size_t i = 0; i + 1 < option.size(); ++i) {
        places.push_back(static_cast<int64_t>(ids.size()));
        ids.push_back(option[i]);
      }
      targets.insert(targets.end(), option.begin(), option.end());
      branches.lengths.push_back(static_cast<int64_t>(option.size()) - 1);
    }
    examples.push_back(std::move(branches));
  }
  const at::Tensor hidden = model.hidden(at::tensor(ids, at::kLong), examples, past > 0 ? &*shared->cache : nullptr);
  const at::Tensor rows = hidden.index_select(0, at::tensor(places, at::kLong).to(hidden.device()));
  const at::Tensor found = log_probabilities(model, rows, at::tensor(targets, at::kLong));
  const float* next = found.const_data_ptr<float>();
  std::vector<std::vector<double>> result;
  for (const ChoiceQuestion& question : questions) {
    result.emplace_back();
    for (const auto& option : question.options) {
      double sum = 0;
      for (size_t i = 0; i < option.size(); ++i) sum += static_cast<double>(*next++);
      result.back().push_back(sum);
    }
  }
  return result;
}

}  // namespace spt
