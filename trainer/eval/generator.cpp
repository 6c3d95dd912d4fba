#include "trainer/eval/generator.h"

#include <algorithm>
#include <cmath>
#include <random>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "base/error.h"

namespace spt {
namespace {

// A prompt under way, in one row of the cache.
struct Slot {
  size_t prompt;
  int64_t row;
  std::vector<int32_t> feed;  // tokens the model has not seen yet
  Continuation continuation;
  std::mt19937_64 random;
};

int32_t sample(const at::Tensor& logits, const SamplingConfig& config, std::mt19937_64& random) {
  if (!std::isfinite(logits.max().item<double>()))
    throw Failure("the model's logits are not finite: its weights are damaged, or training diverged");
  if (config.temperature == 0) return static_cast<int32_t>(logits.argmax().item<int64_t>());
  const at::Tensor p = at::softmax(logits.to(at::kCPU, at::kDouble) / config.temperature, 0);
  auto [sorted, order] = p.sort(/*stable=*/true, 0, /*descending=*/true);
  const double* probability = sorted.data_ptr<double>();
  // The set ends with the token that reaches top_p.
  double mass = 0;
  int64_t count = 0;
  while (count < sorted.numel() && (count == 0 || mass < config.top_p)) mass += probability[count++];
  // 53 random bits: a uniform number in [0, 1), the same with every standard library.
  double left = static_cast<double>(random() >> 11) * 0x1p-53 * mass;
  int64_t chosen = 0;
  while (chosen + 1 < count && left >= probability[chosen]) left -= probability[chosen++];
  return static_cast<int32_t>(order[chosen].item<int64_t>());
}

// Feeds every slot's tokens and returns the logits that follow, [slots, vocab].
at::Tensor forward(CausalLm& model, const std::vector<Slot>& slots, KvCache& cache) {
  std::vector<int64_t> ids, last;
  std::vector<int32_t> starts{0};
  cache.rows.clear();
  for (const Slot& slot : slots) {
    ids.insert(ids.end(), slot.feed.begin(), slot.feed.end());
    starts.push_back(static_cast<int32_t>(ids.size()));
    last.push_back(static_cast<int64_t>(ids.size()) - 1);
    cache.rows.push_back(slot.row);
  }
  const at::Tensor hidden = model.hidden(at::tensor(ids, at::kLong), at::tensor(starts, at::kInt), &cache);
  return model.logits(hidden.index_select(0, at::tensor(last, at::kLong).to(hidden.device())));
}

}  // namespace

void generate(CausalLm& model, const std::vector<Prompt>& prompts, int32_t eos, const SamplingConfig& config,
              int64_t batch, const std::function<void(size_t, const Continuation&)>& done) {
  at::NoGradGuard no_grad;
  const int64_t limit = model.config().max_positions;
  for (size_t first = 0; first < prompts.size(); first += static_cast<size_t>(batch)) {
    const size_t last = std::min(prompts.size(), first + static_cast<size_t>(batch));
    std::vector<Slot> slots;
    int64_t longest = 0;
    for (size_t i = first; i < last; ++i) {
      const auto length = static_cast<int64_t>(prompts[i].ids.size());
      if (length == 0 || length >= limit)
        throw BadInput(
            fmt::format("prompt {} has {} tokens; the model takes 1 to {}", prompts[i].number + 1, length, limit - 1));
      longest = std::max(longest, length);
      std::seed_seq seed{config.seed, prompts[i].number};
      slots.push_back({i, static_cast<int64_t>(i - first), prompts[i].ids, {}, std::mt19937_64(seed)});
    }
    KvCache cache =
        model.make_cache(static_cast<int64_t>(slots.size()), std::min(limit, longest + config.max_new_tokens));
    while (!slots.empty()) {
      const at::Tensor logits = forward(model, slots, cache);
      for (size_t i = 0; i < slots.size(); ++i) {
        Slot& slot = slots[i];
        const int32_t next = sample(logits[static_cast<int64_t>(i)], config, slot.random);
        slot.continuation.stopped = next == eos;
        slot.feed = {next};
        if (!slot.continuation.stopped) slot.continuation.ids.push_back(next);
      }
      std::erase_if(slots, [&](const Slot& slot) {
        const auto made = static_cast<int64_t>(slot.continuation.ids.size());
        const bool full =
            made >= config.max_new_tokens || static_cast<int64_t>(prompts[slot.prompt].ids.size()) + made >= limit;
        if (!slot.continuation.stopped && !full) return false;
        done(slot.prompt, slot.continuation);
        return true;
      });
    }
  }
}

}  // namespace spt
