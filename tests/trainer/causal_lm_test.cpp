// Numbers of DESIGN section 3 against transformers' (tests/golden), at every tp the job's size allows.
#include "trainer/model/causal_lm.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/ranks.h"
#include "tests/trainer/golden.h"
#include "trainer/eval/generator.h"
#include "trainer/gradients.h"
#include "trainer/optim/schedule.h"
#include "trainer/optim/zero_adamw.h"
#include "trainer/optimizer_state.h"

namespace spt {
namespace {

class GoldenModel : public testing::TestWithParam<std::string> {
 protected:
  // tp over all ranks.
  GoldenModel() : mesh_(job(), {.tp = job().size()}), golden_(GetParam()) {}

  CausalLm make(const CausalLm::Memory& memory = {.parameters = {.grad_dtype = at::kFloat}}) {
    CausalLm model(load_model_config(golden_folder(GetParam())), mesh_.place.tp_rank, mesh_.tp->size());
    model.allocate(*mesh_.tp, memory);
    load_pretrained(model, golden_folder(GetParam()));
    return model;
  }

  // One backward pass: each weight's gradient, to `tolerance` of its largest element.
  void check_gradients(CausalLm& model, double tolerance) {
    const double scale = 1.0 / golden_.tensor("trained_count").item<double>();
    backward(model.loss_sum(golden_.batch(), scale), scale);
    for (const Parameter& parameter : model.parameters().list())
      for (size_t i = 0; i < parameter.shards.size(); ++i) {
        const Shard& shard = parameter.shards[i];
        if (shard.numel() == 0) continue;
        at::Tensor expected = golden_.tensor("grad." + shard.name);
        const double largest = expected.abs().max().item<double>();
        if (!shard.replicated()) expected = expected.narrow(shard.dim, shard.begin, shard.end - shard.begin);
        EXPECT_LT(distance(parameter.part(i, parameter.grad), expected), tolerance * largest) << shard.name;
      }
  }

  void expect_same_on_all_ranks(const at::Tensor& value) {
    at::Tensor all = at::empty({mesh_.tp->size() * value.numel()}, value.options());
    mesh_.tp->all_gather(all, value.detach().flatten());
    for (const at::Tensor& one : all.chunk(mesh_.tp->size())) EXPECT_TRUE(at::equal(one, value.flatten()));
  }

  Mesh mesh_;
  Golden golden_;
};

TEST_P(GoldenModel, Logits_EqualTransformersTo1e4) {
  CausalLm model = make();
  at::NoGradGuard no_grad;
  const Batch batch = golden_.batch();
  EXPECT_LT(distance(model.logits(model.hidden(batch.ids, batch.starts)), golden_.tensor("logits")), 1e-4);
}

TEST_P(GoldenModel, CudnnAttention_IsRefusedOnTheCpu) {
  CausalLm model = make();
  EXPECT_FALSE(model.compare_attention(golden_.batch().starts).has_value()) << "there is no choice";
  model.set_attention(AttentionWay::kFlash);
  try {
    model.set_attention(AttentionWay::kCudnn);
    FAIL() << "accepted";
  } catch (const BadInput& refused) {
    EXPECT_NE(std::string(refused.what()).find("model.attention is cudnn, which runs on GPUs only"), std::string::npos)
        << refused.what();
  }
}

TEST_P(GoldenModel, LossSum_EqualsTransformersTo1e5Relative) {
  CausalLm model = make();
  const double expected = golden_.tensor("loss_sum").item<double>();
  EXPECT_NEAR(model.loss_sum(golden_.batch()).item<double>(), expected, 1e-5 * expected);
}

TEST_P(GoldenModel, Gradients_EqualTransformersWithAndWithoutRecomputation) {
  for (const bool sequence_parallel : {true, false})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kAttention, Recompute::kBlock}) {
      CausalLm model = make({{.grad_dtype = at::kFloat}, recompute, sequence_parallel});
      check_gradients(model, 1e-4);
    }
}

TEST_P(GoldenModel, GradientsInBf16_AreRoundedOnceOrTwice) {
  CausalLm model = make({.parameters = {.grad_dtype = at::kBFloat16}});
  check_gradients(model, 1.0 / 128);  // of the largest, whose spacing is 1/256 to 1/128
}

TEST_P(GoldenModel, TenSteps_FollowTransformersTo1e4Relative) {
  CausalLm model = make();
  AdamWConfig adamw;
  adamw.lr = 1e-3;
  ScheduleConfig schedule;
  schedule.final_lr = 1e-4;
  Gradients gradients(model.parameters(), *mesh_.dp);
  const auto optimizer = make_optimizer(model.parameters(), adamw, mesh_);
  const at::Tensor losses = golden_.tensor("losses"), norms = golden_.tensor("grad_norms"),
                   rates = golden_.tensor("lrs");
  for (int64_t step = 0; step < 10; ++step) {
    const Batch batch = golden_.batch("step" + std::to_string(step) + ".");
    const double count = batch.labels.ne(-100).sum().item<double>();
    const at::Tensor sum = model.loss_sum(batch, 1 / count);
    backward(sum, 1 / count);
    const double rate = learning_rate(schedule, adamw.lr, step, 10);
    EXPECT_NEAR(rate, rates[step].item<double>(), 1e-6 * rate) << "step " << step;
    gradients.finish();
    const double norm = optimizer->step(rate, gradients.owned()).item<double>();
    optimizer->finish_gathering();
    gradients.clear();
    const double loss = losses[step].item<double>(), expected_norm = norms[step].item<double>();
    EXPECT_NEAR(sum.item<double>() / count, loss, 1e-4 * loss) << "step " << step;
    EXPECT_NEAR(norm, expected_norm, 1e-3 * expected_norm) << "step " << step;
  }
  for (const Parameter& parameter : model.parameters().list())
    for (size_t i = 0; i < parameter.shards.size(); ++i) {
      const Shard& shard = parameter.shards[i];
      if (shard.replicated()) expect_same_on_all_ranks(parameter.value);
      const at::Tensor square = parameter.part(i, parameter.value).to(at::kDouble).square().sum();
      if (!shard.replicated()) mesh_.tp->all_reduce(square, Reduce::kSum);
      const double expected = golden_.tensor("final_norm." + shard.name).item<double>();
      EXPECT_NEAR(square.sqrt().item<double>(), expected, 1e-4 * expected) << shard.name;
    }
}

TEST_P(GoldenModel, Generate_GreedyTextsEqualTransformersInOneBatchAndOneByOne) {
  CausalLm model = make();
  std::vector<Prompt> prompts;
  for (int i = 0; i < 3; ++i) {
    const at::Tensor ids = golden_.tensor("greedy" + std::to_string(i) + ".prompt").to(at::kInt).contiguous();
    prompts.push_back({{ids.data_ptr<int32_t>(), ids.data_ptr<int32_t>() + ids.numel()}, static_cast<uint64_t>(i)});
  }
  SamplingConfig config;
  config.max_new_tokens = 20;
  for (const int64_t batch : {3, 1, 2}) {
    generate(model, prompts, -1, config, batch, [&](size_t i, const Continuation& continuation) {
      const at::Tensor expected = golden_.tensor("greedy" + std::to_string(i) + ".output").to(at::kInt).contiguous();
      EXPECT_EQ(continuation.ids,
                std::vector<int32_t>(expected.data_ptr<int32_t>(), expected.data_ptr<int32_t>() + expected.numel()))
          << "prompt " << i << ", batch " << batch;
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, GoldenModel, testing::Values("llama", "llama_gqa", "mistral"),
                         [](const auto& test) { return test.param; });

class GoldenRope : public testing::TestWithParam<std::string> {};

TEST_P(GoldenRope, Logits_EqualTransformersTo1e4) {
  Mesh mesh(job(), {});
  const Golden golden(GetParam());
  CausalLm model(load_model_config(golden_folder(GetParam())), 0, 1);
  model.allocate(*mesh.tp, {});
  load_pretrained(model, golden_folder(GetParam()));
  at::NoGradGuard no_grad;
  EXPECT_LT(
      distance(model.logits(model.hidden(golden.tensor("ids"), golden.tensor("starts"))), golden.tensor("logits")),
      1e-4);
}

INSTANTIATE_TEST_SUITE_P(Rope, GoldenRope,
                         testing::Values("rope_default_new", "rope_linear_new", "rope_linear_old", "rope_llama3_new"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace spt
