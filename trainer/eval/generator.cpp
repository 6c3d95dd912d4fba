#include "trainer/eval/generator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "base/error.h"
#include "trainer/eval/common_prefix.h"

namespace spt {
namespace {

// A sequence under way.
struct Slot {
  Prompt prompt;
  KvCache cache;
  std::vector<int32_t> feed;  // tokens the model has not seen yet
  Continuation continuation;
  int64_t left = 0;  // tokens that it may still write
  std::mt19937_64 random;

  int64_t length() const { return cache.length + static_cast<int64_t>(feed.size()); }
};

// Tokens that the model reads in one pass at most, but for one long prompt: bounds the memory of a pass.
constexpr int64_t kPassTokens = 4096;

int32_t sample(const at::Tensor& logits, const SamplingConfig& config, std::mt19937_64& random) {
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

// The token after each row of logits, [slots, vocab].
std::vector<int32_t> choose(const at::Tensor& logits, const SamplingConfig& config,
                            const std::vector<std::unique_ptr<Slot>>& slots) {
  for (size_t i = 0; i < slots.size(); ++i) {
    const Slot& slot = *slots[i];
    const bool is_first =
        slot.continuation.ids.empty() && slot.length() == static_cast<int64_t>(slot.prompt.ids.size());
    if (slot.prompt.never_first && is_first) logits[static_cast<int64_t>(i)][*slot.prompt.never_first] = -INFINITY;
  }
  if (!at::isfinite(logits.amax(1)).all().item<bool>())
    throw Failure("the model's logits are not finite: its weights are damaged, or training diverged");
  const at::Tensor best = config.temperature == 0 ? logits.argmax(1).cpu() : at::Tensor();
  std::vector<int32_t> chosen;
  for (size_t i = 0; i < slots.size(); ++i)
    chosen.push_back(best.defined() ? static_cast<int32_t>(best.const_data_ptr<int64_t>()[i])
                                    : sample(logits[static_cast<int64_t>(i)], config, slots[i]->random));
  return chosen;
}

// Feeds every slot's tokens and returns the logits that follow, [slots, vocab].
at::Tensor forward(CausalLm& model, const std::vector<std::unique_ptr<Slot>>& slots) {
  std::vector<int64_t> ids, last;
  std::vector<int32_t> starts{0};
  std::vector<KvCache*> caches;
  for (const auto& slot : slots) {
    ids.insert(ids.end(), slot->feed.begin(), slot->feed.end());
    starts.push_back(static_cast<int32_t>(ids.size()));
    last.push_back(static_cast<int64_t>(ids.size()) - 1);
    caches.push_back(&slot->cache);
  }
  const at::Tensor hidden = model.hidden(at::tensor(ids, at::kLong), at::tensor(starts, at::kInt), caches);
  for (const auto& slot : slots) slot->feed.clear();
  return model.logits(hidden.index_select(0, at::tensor(last, at::kLong).to(hidden.device())));
}

// The sequences side by side.
class ContinuousBatch {
 public:
  ContinuousBatch(CausalLm& model, int32_t eos, const SamplingConfig& config, const BatchLimits& limits,
                  const SequenceStream& stream)
      : model_(model), eos_(eos), config_(config), limits_(limits), stream_(stream) {}

  void run() {
    while (true) {
      if (stream_.stop()) return;
      admit();
      if (slots_.empty()) return;
      const at::Tensor logits = forward(model_, slots_);
      const std::vector<int32_t> chosen = choose(logits, config_, slots_);
      for (size_t i = 0; i < slots_.size(); ++i) take(*slots_[i], chosen[i]);
      std::erase_if(slots_, [this](auto& slot) {
        if (!has_ended(*slot) || follow_up(*slot)) return false;
        ended_ = std::move(slot);
        return true;
      });
    }
  }

 private:
  int64_t positions() const { return model_.config().max_positions; }

  // What a sequence may come to hold.
  int64_t room(int64_t length, int64_t left) const { return std::min(positions(), length + left); }

  void admit() {
    int64_t held = 0, fed = 0;
    for (const auto& slot : slots_) {
      held += room(slot->length(), slot->left);
      fed += static_cast<int64_t>(slot->feed.size());
    }
    while (static_cast<int64_t>(slots_.size()) < limits_.sequences) {
      if (!next_) next_ = stream_.next(slots_.empty());
      if (!next_) return;
      const auto length = static_cast<int64_t>(next_->ids.size());
      if (length == 0 || length >= positions())
        throw BadInput(fmt::format("prompt {} has {} tokens; the model takes 1 to {}", next_->number + 1, length,
                                   positions() - 1));
      const auto [source, shared, must_wait] = find_prefix(next_->ids);
      if (must_wait) return;
      held += room(length, config_.max_new_tokens);
      fed += length - shared;
      if (!slots_.empty() && (held > limits_.tokens || fed > kPassTokens)) return;
      std::seed_seq seed{config_.seed, next_->number};
      slots_.push_back(std::make_unique<Slot>(
          Slot{std::move(*next_), model_.make_cache(), {}, {}, config_.max_new_tokens, std::mt19937_64(seed)}));
      Slot& slot = *slots_.back();
      if (source != nullptr) slot.cache.copy_from(source->cache, shared);
      slot.feed.assign(slot.prompt.ids.begin() + shared, slot.prompt.ids.end());
      next_.reset();
    }
  }

  struct Prefix {
    Slot* source = nullptr;  // whose cache begins as the prompt does
    int64_t tokens = 0;
    bool must_wait = false;  // for the next pass: one admitted for this one will have read more of it
  };
  Prefix find_prefix(const std::vector<int32_t>& ids) const {
    constexpr int64_t kWorthCopying = 16;
    Prefix found;
    if (!limits_.share_prefixes) return found;
    int64_t unread = 0;
    const auto look_at = [&](Slot* slot) {
      // The last token is read in any case: its logits are wanted.
      const int64_t common = std::min(common_prefix(slot->prompt.ids, ids), static_cast<int64_t>(ids.size()) - 1);
      if (common < kWorthCopying) return;
      if (slot->cache.length < common)
        unread = std::max(unread, common);
      else if (common > found.tokens)
        found = {slot, common};
    };
    for (const auto& slot : slots_) look_at(slot.get());
    if (ended_) look_at(ended_.get());
    found.must_wait = unread - found.tokens >= kWorthCopying;
    return found;
  }

  void take(Slot& slot, int32_t token) const {
    slot.continuation.stopped = token == eos_;
    if (slot.continuation.stopped) return;
    slot.continuation.ids.push_back(token);
    slot.feed.push_back(token);
    --slot.left;
  }

  bool has_ended(const Slot& slot) const {
    return slot.continuation.stopped || slot.left <= 0 || slot.length() >= positions();
  }

  // Whether the sequence goes on.
  bool follow_up(Slot& slot) const {
    while (true) {
      slot.continuation.full = slot.length() >= positions();
      const auto more = stream_.done(slot.prompt, slot.continuation);
      if (!more) return false;
      if (more->ids.empty() && slot.continuation.stopped) return false;
      slot.left = more->max_new_tokens;
      if (!more->ids.empty()) {
        slot.continuation = {};
        slot.feed.insert(slot.feed.end(), more->ids.begin(), more->ids.end());
      }
      if (slot.left > 0 && slot.length() < positions()) return true;
      if (more->ids.empty()) return false;
    }
  }

  CausalLm& model_;
  int32_t eos_;
  const SamplingConfig& config_;
  const BatchLimits& limits_;
  const SequenceStream& stream_;
  std::optional<Prompt> next_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<Slot> ended_;  // the last one, for what the next prompt may have in common with it
};

}  // namespace

void generate(CausalLm& model, int32_t eos, const SamplingConfig& config, const BatchLimits& limits,
              const SequenceStream& stream) {
  at::NoGradGuard no_grad;
  ContinuousBatch(model, eos, config, limits, stream).run();
}

void generate(CausalLm& model, const std::vector<Prompt>& prompts, int32_t eos, const SamplingConfig& config,
              int64_t batch, const std::function<void(size_t, const Continuation&)>& done,
              const std::function<bool()>& stop) {
  size_t begun = 0;
  std::map<uint64_t, size_t> place;
  SequenceStream stream;
  stream.stop = stop;
  stream.next = [&](bool) -> std::optional<Prompt> {
    if (begun == prompts.size()) return std::nullopt;
    place[prompts[begun].number] = begun;
    return prompts[begun++];
  };
  stream.done = [&](const Prompt& prompt, const Continuation& continuation) -> std::optional<FollowUp> {
    done(place.at(prompt.number), continuation);
    return std::nullopt;
  };
  generate(model, eos, config, {batch}, stream);
}

}  // namespace spt
