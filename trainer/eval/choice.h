// The log-likelihood of options behind a prompt: what they share is computed once, in one forward pass.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "trainer/model/causal_lm.h"

namespace spt {

struct ChoiceQuestion {
  std::vector<int32_t> prompt;                // at least one token
  std::vector<std::vector<int32_t>> options;  // each at least one token

  int64_t tokens() const;  // that the model reads
};

// What questions begin with in common, read once: kept by the caller from one call to the next.
struct SharedPrefix {
  std::vector<int32_t> ids;
  std::optional<KvCache> cache;  // of these
};

// Σ log p(token | prompt, the option's tokens before it), natural logarithm, of each option of each question: one pass
// over all of them. The same on all tp ranks. REQUIRES: no prompt with its option is longer than the model takes.
// Without `shared` each prompt is read as a whole.
std::vector<std::vector<double>> option_loglikelihoods(CausalLm& model, std::span<const ChoiceQuestion> questions,
                                                       SharedPrefix* shared = nullptr);

}  // namespace spt
