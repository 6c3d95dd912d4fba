// What side by side, options in one pass and continued caches give is what each sequence gives alone.
#include "trainer/eval/generator.h"

#include <utility>

#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "tests/ranks.h"
#include "tests/trainer/golden.h"
#include "tests/trainer/messages.h"
#include "trainer/eval/choice.h"

namespace spt {
namespace {

class Generation : public testing::TestWithParam<std::string> {
 protected:
  // tp over all ranks.
  Generation()
      : mesh_(job(), {.tp = job().size()}),
        model_(load_model_config(golden_folder(GetParam())), mesh_.place.tp_rank, mesh_.tp->size()) {
    model_.allocate(*mesh_.tp, {});
    load_pretrained(model_, golden_folder(GetParam()));
  }

  // Ids that look random and are the same on every rank.
  std::vector<int32_t> ids(int64_t count, int64_t seed) const {
    std::vector<int32_t> some;
    for (int64_t i = 0; i < count; ++i)
      some.push_back(static_cast<int32_t>((seed * 7919 + i * i * 31 + i * 17) % model_.config().vocab_size));
    return some;
  }

  // Σ log p of the ids behind the first `context`, from a plain forward pass.
  double loglikelihood(const std::vector<int32_t>& whole, size_t context) {
    at::NoGradGuard no_grad;
    const std::vector<int64_t> wide(whole.begin(), whole.end());
    const at::Tensor starts = at::tensor({0, static_cast<int>(wide.size())}, at::kInt);
    const at::Tensor logp = model_.logits(model_.hidden(at::tensor(wide, at::kLong), starts)).log_softmax(1);
    double sum = 0;
    for (size_t i = context; i < whole.size(); ++i) sum += logp[static_cast<int64_t>(i) - 1][whole[i]].item<double>();
    return sum;
  }

  Mesh mesh_;
  CausalLm model_;
};

TEST_P(Generation, OptionsInOnePass_HaveTheLoglikelihoodsOfEachAlone) {
  std::vector<ChoiceQuestion> questions = {{ids(20, 1), {ids(3, 2), ids(1, 3), ids(6, 4)}},
                                           {ids(1, 5), {ids(1, 6), ids(1, 7)}},
                                           {ids(9, 8), {ids(12, 9), ids(2, 10), ids(2, 11), ids(4, 12)}}};
  const auto found = option_loglikelihoods(model_, questions);
  ASSERT_EQ(found.size(), questions.size());
  for (size_t q = 0; q < questions.size(); ++q) {
    ASSERT_EQ(found[q].size(), questions[q].options.size());
    for (size_t o = 0; o < found[q].size(); ++o) {
      std::vector<int32_t> whole = questions[q].prompt;
      whole.insert(whole.end(), questions[q].options[o].begin(), questions[q].options[o].end());
      EXPECT_NEAR(found[q][o], loglikelihood(whole, questions[q].prompt.size()), 2e-5) << q << " " << o;
    }
  }
}

// Examples in front of a question are read once and kept for the next call.
TEST_P(Generation, OptionsBehindASharedPrefix_HaveTheLoglikelihoodsOfEachAlone) {
  const auto behind = [](std::vector<int32_t> front, const std::vector<int32_t>& rest) {
    front.insert(front.end(), rest.begin(), rest.end());
    return front;
  };
  const std::vector<int32_t> one = ids(90, 50), other = behind(ids(20, 50), ids(70, 51));
  std::vector<std::vector<ChoiceQuestion>> calls = {
      {{behind(one, ids(5, 1)), {ids(2, 2), ids(3, 3)}}, {behind(one, ids(9, 4)), {ids(1, 5), ids(4, 6), ids(2, 7)}}},
      {{behind(one, ids(7, 8)), {ids(2, 9), ids(2, 10)}}},
      {{behind(other, ids(5, 1)), {ids(2, 2), ids(3, 3)}}, {behind(other, ids(3, 4)), {ids(1, 5), ids(4, 6)}}},
      {{ids(12, 60), {ids(2, 9), ids(2, 10)}}, {one, {ids(2, 9), ids(2, 10)}}}};
  SharedPrefix shared;
  for (const auto& questions : calls) {
    const auto found = option_loglikelihoods(model_, questions, &shared),
               alone = option_loglikelihoods(model_, questions);
    for (size_t q = 0; q < questions.size(); ++q)
      for (size_t o = 0; o < found[q].size(); ++o) EXPECT_NEAR(found[q][o], alone[q][o], 2e-5) << q << " " << o;
  }
}

// Bits, not digits: what stands beside an example and how many threads there are does not show.
TEST_P(Generation, BatchInvariant_GivesEachExampleItsBits) {
  at::NoGradGuard no_grad;
  model_.set_batch_invariant(true);
  const std::vector<int64_t> lengths = {37, 1, 20, 64, 3};
  std::vector<int64_t> all, starts{0};
  for (size_t i = 0; i < lengths.size(); ++i) {
    const std::vector<int32_t> some = ids(lengths[i], static_cast<int64_t>(i) + 70);
    all.insert(all.end(), some.begin(), some.end());
    starts.push_back(static_cast<int64_t>(all.size()));
  }
  const auto logits = [&](int64_t begin, int64_t end) {
    const std::vector<int64_t> part(all.begin() + begin, all.begin() + end);
    return model_.logits(model_.hidden(at::tensor(part, at::kLong), at::tensor({int64_t{0}, end - begin}, at::kInt)));
  };
  // The token behind each example, from its cache.
  const auto steps = [&](const std::vector<size_t>& examples) {
    std::vector<KvCache> caches(examples.size(), model_.make_cache());
    std::vector<KvCache*> pointers;
    for (size_t i = 0; i < examples.size(); ++i) {
      KvCache* cache = pointers.emplace_back(&caches[i]);
      const int64_t begin = starts[examples[i]], length = lengths[examples[i]];
      const std::vector<int64_t> part(all.begin() + begin, all.begin() + begin + length);
      model_.hidden(at::tensor(part, at::kLong), at::tensor({int64_t{0}, length}, at::kInt), {&cache, 1});
    }
    const auto count = static_cast<int64_t>(examples.size());
    return model_.logits(model_.hidden(at::full({count}, 5, at::kLong), at::arange(count + 1, at::kInt), pointers));
  };
  const int threads = at::get_num_threads();
  const at::Tensor together = model_.logits(model_.hidden(at::tensor(all, at::kLong), at::tensor(starts, at::kInt)));
  const at::Tensor steps_together = steps({0, 1, 2, 3, 4});
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    for (size_t i = 0; i < lengths.size(); ++i)
      EXPECT_TRUE(at::equal(logits(starts[i], starts[i + 1]), together.narrow(0, starts[i], lengths[i]))) << i;
    for (size_t i = 0; i < lengths.size(); ++i)
      EXPECT_TRUE(at::equal(steps({i})[0], steps_together[static_cast<int64_t>(i)])) << i;
  }
  at::set_num_threads(threads);
}

// A sequence that ends makes room for the next one at once, and a narrow limit of tokens only delays.
TEST_P(Generation, ContinuousBatches_WriteWhatEachWritesAlone) {
  std::vector<Prompt> prompts;
  for (int64_t i = 0; i < 7; ++i) prompts.push_back({ids(3 + 5 * i % 17, 20 + i), static_cast<uint64_t>(i)});
  SamplingConfig config;
  config.max_new_tokens = 12;
  std::vector<std::vector<int32_t>> alone(prompts.size());
  generate(model_, prompts, -1, config, 1, [&](size_t i, const Continuation& made) { alone[i] = made.ids; });
  for (const BatchLimits& limits : {BatchLimits{3}, BatchLimits{7}, BatchLimits{7, 40}}) {
    size_t next = 0, ended = 0;
    generate(model_, -1, config, limits,
             {[&](bool) -> std::optional<Prompt> {
                return next < prompts.size() ? std::optional(prompts[next++]) : std::nullopt;
              },
              [&](const Prompt& prompt, const Continuation& made) -> std::optional<FollowUp> {
                EXPECT_EQ(made.ids, alone[prompt.number]) << prompt.number;
                ++ended;
                return std::nullopt;
              }});
    EXPECT_EQ(ended, prompts.size());
  }
}

TEST_P(Generation, PromptsWithACommonBeginning_WriteWhatEachWritesAlone) {
  std::vector<Prompt> prompts;
  for (int64_t i = 0; i < 9; ++i) {
    std::vector<int32_t> prompt = ids(i % 3 == 2 ? 30 : 40, 30 + i % 2);
    const std::vector<int32_t> rest = ids(i % 4, 80 + i);  // none: a prompt as another one begins, or the same again
    prompt.insert(prompt.end(), rest.begin(), rest.end());
    prompts.push_back({std::move(prompt), static_cast<uint64_t>(i)});
  }
  SamplingConfig config;
  config.max_new_tokens = 6;
  std::vector<std::vector<int32_t>> alone(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i)
    generate(model_, {prompts[i]}, -1, config, 1, [&](size_t, const Continuation& made) { alone[i] = made.ids; });
  for (const int64_t batch : {1, 4, 9})
    generate(model_, prompts, -1, config, batch,
             [&](size_t i, const Continuation& made) { EXPECT_EQ(made.ids, alone[i]) << i; });
}

TEST_P(Generation, FollowUps_GoOnAsIfTheWholeTextHadBeenThePrompt) {
  SamplingConfig config;
  config.max_new_tokens = 5;
  const std::vector<int32_t> start = ids(8, 40), trigger = ids(4, 41);
  std::vector<std::vector<int32_t>> made;
  bool begun = false;
  generate(model_, -1, config, {2},
           {[&](bool) -> std::optional<Prompt> {
              return std::exchange(begun, true) ? std::nullopt : std::optional(Prompt{start, 0});
            },
            [&](const Prompt&, const Continuation& continuation) -> std::optional<FollowUp> {
              made.push_back(continuation.ids);
              if (made.size() == 1) return FollowUp{{}, 3};  // the same one goes on
              if (made.size() == 2) return FollowUp{trigger, 6};
              return std::nullopt;
            }});
  ASSERT_EQ(made.size(), 3U);
  EXPECT_EQ(made[0].size(), 5U);
  EXPECT_EQ(made[1].size(), 8U);
  EXPECT_TRUE(std::equal(made[0].begin(), made[0].end(), made[1].begin()));
  std::vector<int32_t> whole = start;
  whole.insert(whole.end(), made[1].begin(), made[1].end());
  whole.insert(whole.end(), trigger.begin(), trigger.end());
  config.max_new_tokens = 6;
  generate(model_, {{whole, 0}}, -1, config, 1,
           [&](size_t, const Continuation& continuation) { EXPECT_EQ(continuation.ids, made[2]); });
}

// Who is told so does not ask for more, and no sequence is lost.
TEST_P(Generation, WhereNoPositionIsLeft_TheContinuationIsFull) {
  const std::vector<int32_t> prompt = ids(model_.config().max_positions - 2, 7);
  bool begun = false;
  int ended = 0;
  generate(model_, -1, {}, {2},
           {[&](bool) -> std::optional<Prompt> {
              return std::exchange(begun, true) ? std::nullopt : std::optional(Prompt{prompt, 0});
            },
            [&](const Prompt&, const Continuation& made) -> std::optional<FollowUp> {
              EXPECT_TRUE(made.full);
              EXPECT_EQ(made.ids.size(), 2U);
              ++ended;
              return std::nullopt;
            }});
  EXPECT_EQ(ended, 1);
}

TEST_P(Generation, Stop_EndsWithoutFinishing) {
  int steps = 0, ended = 0;
  generate(model_, -1, {}, {1},
           {[&](bool) -> std::optional<Prompt> {
              return Prompt{ids(4, 1), 0};
            },
            [&](const Prompt&, const Continuation&) -> std::optional<FollowUp> {
              ++ended;
              return std::nullopt;
            },
            [&] { return ++steps > 3; }});
  EXPECT_EQ(steps, 4);
  EXPECT_EQ(ended, 0);
}

TEST_P(Generation, ATokenThatMayNotComeFirst_DoesNot) {
  SamplingConfig config;
  config.max_new_tokens = 1;
  int32_t first = -1;
  const auto take = [&](size_t, const Continuation& made) { first = made.ids.at(0); };
  generate(model_, {{ids(6, 3), 0}}, -1, config, 1, take);
  const int32_t favourite = first;
  generate(model_, {{ids(6, 3), 0, favourite}}, -1, config, 1, take);
  EXPECT_NE(first, favourite);
}

INSTANTIATE_TEST_SUITE_P(Tiny, Generation, testing::Values("llama_gqa", "mistral"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace spt
