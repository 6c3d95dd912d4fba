// Answers token by token, with cached keys and values. Sequences of different lengths run side by side without padding;
// where one ends, the next begins at once (continuous batching: Yu et al., Orca, OSDI 2022).
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
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
  bool full = false;         // the model takes no further token: nothing can follow
};

struct Prompt {
  std::vector<int32_t> ids;
  uint64_t number = 0;  // its random numbers depend on this and the seed: not on batch, order or rank
  std::optional<int32_t> never_first = std::nullopt;  // a token that its continuation may not begin with
};

// Continues each prompt, `batch` at a time; `done` is called for each as it ends. The model's own limit of positions
// counts too. All tp ranks make the same call and get the same result. Where `stop` (as SequenceStream's) says so, what
// has not ended is dropped. Throws BadInput for an empty prompt or one with
// no room left.
void generate(
    CausalLm& model, const std::vector<Prompt>& prompts, int32_t eos, const SamplingConfig& config, int64_t batch,
    const std::function<void(size_t, const Continuation&)>& done,
    const std::function<bool()>& stop = [] { return false; });

// What comes after a continuation that has ended: `ids` are fed behind it and a new one begins, from the cache of what
// was there; without ids the same continuation goes on for up to max_new_tokens more (unless EOS ended it).
struct FollowUp {
  std::vector<int32_t> ids;
  int64_t max_new_tokens = 0;
};

struct SequenceStream {
  // nullopt: there is none now; with `wait`, which is asked when nothing else is left to do, there are no more.
  std::function<std::optional<Prompt>(bool wait)> next;
  // A sequence is over when it returns nothing, or when no position is left for what it returns.
  std::function<std::optional<FollowUp>(const Prompt&, const Continuation&)> done;
  std::function<bool()> stop = [] { return false; };  // asked before each step, by all tp ranks with one answer
};

struct BatchLimits {
  int64_t sequences = 16;                                // side by side
  int64_t tokens = std::numeric_limits<int64_t>::max();  // in the caches of those under way; one sequence may hold more
  bool share_prefixes = true;                            // what a prompt begins with as one before is not read again
};

// The same for a stream of prompts. A sequence counts with its whole prompt and what it may still write.
void generate(CausalLm& model, int32_t eos, const SamplingConfig& config, const BatchLimits& limits,
              const SequenceStream& stream);

}  // namespace spt
