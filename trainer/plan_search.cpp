// Planner::proposals: every combination of the few keys that say how a step is computed, by their few values.
#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "trainer/plan.h"

namespace spt {
namespace {

constexpr size_t kMostProposals = 3;
constexpr double kWorthAChange = 0.97;  // of the step's time now
constexpr int64_t kLeastMicroBatch = 256, kMostMicroBatchFactor = 16;

// Times within about 1% count as equal: a model knows no better.
long rank_of(double seconds) {
  return std::lround(std::log(seconds) / 0.01);
}

// Whether `more` changes every key that `fewer` changes.
bool changes_all_of(const Proposal& more, const Proposal& fewer) {
  const auto key = [](const std::string& override) { return override.substr(0, override.find('=')); };
  return std::all_of(fewer.overrides.begin(), fewer.overrides.end(), [&](const std::string& one) {
    return std::any_of(more.overrides.begin(), more.overrides.end(),
                       [&](const std::string& other) { return key(other) == key(one); });
  });
}

}  // namespace

Planner::Choices Planner::choices() const {
  Choices keys;
  const auto key = [&] { keys.push_back({{"", [](RunConfig&) {}}}); };
  const auto choice = [&](bool holds, const std::string& override, std::function<void(RunConfig&)> change) {
    if (holds) keys.back().push_back({override, std::move(change)});
  };
  key();
  for (int tp = 1; tp <= ranks_; tp *= 2) {
    RunConfig with = config_;
    with.mesh.tp = tp;
    if (tp == config_.mesh.tp) continue;
    try {
      check_mesh(with);
    } catch (const BadInput&) {
      continue;
    }
    choice(true, fmt::format("mesh.tp={}", tp), [tp](RunConfig& next) { next.mesh.tp = tp; });
  }
  key();
  for (const auto& [name, zero] : enum_names(ZeroStage{}))
    choice(zero != config_.optimizer.zero, "optimizer.zero=" + name,
           [zero = zero](RunConfig& next) { next.optimizer.zero = zero; });
  key();
  for (const auto& [name, offload] : enum_names(Offload{}))
    choice(offload != config_.optimizer.offload && !machine_.is_cpu(), "optimizer.offload=" + name,
           [offload = offload](RunConfig& next) { next.optimizer.offload = offload; });
  key();
  for (const auto& [name, recompute] : enum_names(Recompute{}))
    choice(recompute != config_.model.recompute, "model.recompute=" + name,
           [recompute = recompute](RunConfig& next) { next.model.recompute = recompute; });
  key();
  const int64_t now = config_.train.micro_batch_tokens;
  for (int64_t factor = 2; factor <= kMostMicroBatchFactor; factor *= 2)  // of equal ones the nearest goes first
    for (const int64_t tokens : {now / factor, now * factor})
      choice(tokens >= kLeastMicroBatch, fmt::format("train.micro_batch_tokens={}", tokens),
             [tokens](RunConfig& next) { next.train.micro_batch_tokens = tokens; });
  key();
  choice(config_.checkpoint.background, "checkpoint.background=false",
         [](RunConfig& next) { next.checkpoint.background = false; });
  return keys;
}

std::vector<Proposal> Planner::search(const Choices& choices, double below_seconds) const {
  std::vector<Proposal> found;
  std::vector<size_t> at(choices.size(), 0);
  const auto next = [&] {  // counts through all combinations
    size_t key = 0;
    while (key < at.size() && ++at[key] == choices[key].size()) at[key++] = 0;
    return key < at.size();
  };
  do {
    RunConfig config = config_;
    Proposal proposal;
    for (size_t key = 0; key < at.size(); ++key) {
      const Choice& choice = choices[key][at[key]];
      choice.change(config);
      if (!choice.override.empty()) proposal.overrides.push_back(choice.override);
    }
    if (proposal.overrides.empty()) continue;
    if (config.optimizer.zero != config_.optimizer.zero && ranks_ == config.mesh.tp) continue;  // nothing to cut
    const Outcome outcome = this->outcome(config);
    if (!outcome.fits || outcome.seconds >= below_seconds) continue;
    proposal.bytes = outcome.bytes;
    proposal.on_host = outcome.on_host;
    proposal.seconds = outcome.seconds;
    found.push_back(std::move(proposal));
  } while (next());
  const auto order = [](const Proposal& p) { return std::pair(rank_of(p.seconds), p.overrides.size()); };
  std::stable_sort(found.begin(), found.end(),
                   [&](const Proposal& a, const Proposal& b) { return order(a) < order(b); });
  std::vector<Proposal> best;
  for (Proposal& proposal : found) {
    const bool adds =
        std::any_of(best.begin(), best.end(), [&](const Proposal& better) { return changes_all_of(proposal, better); });
    if (!adds) best.push_back(std::move(proposal));
    if (best.size() == kMostProposals) break;
  }
  return best;
}

std::vector<Proposal> Planner::proposals() const {
  const Outcome now = outcome(config_);
  Choices keys = choices();
  if (now.fits) return search(keys, kWorthAChange * now.seconds);
  std::vector<Proposal> found = search(keys, INFINITY);
  if (found.empty() && config_.optimizer.grad_dtype == GradDtype::kFp32) {
    keys.push_back(
        {{"optimizer.grad_dtype=bf16", [](RunConfig& next) { next.optimizer.grad_dtype = GradDtype::kBf16; }}});
    found = search(keys, INFINITY);
  }
  return found;
}

}  // namespace spt
