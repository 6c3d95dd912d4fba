// Answers token by token, with cached keys and values. Prompts of different lengths run side by side, without padding.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "trainer/model/causal_lm.h"

namespace spt {

struct SamplingConfig {
  int64_t max_new_tokens = 512;
  double temperature = 0;  // 0: greedy (the lowest id among equal logits)
  double top_p = 1;        // sample from the smallest set of tokens of this probability
  uint64_t seed = 1;
};

struct Continuation {
  std::vector<int32_t> ids;  // without the EOS
  bool stopped = false;      // by EOS; else the length limit was reached
};

struct Prompt {
  std::vector<int32_t> ids;
  uint64_t number = 0;  // its random numbers depend on this and the seed: not on batch, order or rank
};

// Continues each prompt, `batch` at a time; `done` is called for each as it ends. The model's own limit of positions
// counts too. All tp ranks make the same call and get the same result. Throws BadInput for an empty prompt or one with
// no room left.
void generate(CausalLm& model, const std::vector<Prompt>& prompts, int32_t eos, const SamplingConfig& config,
              int64_t batch, const std::function<void(size_t, const Continuation&)>& done);

}  // namespace spt
