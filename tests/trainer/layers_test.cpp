// Pieces of the decoder against their plain formulas: the loss over a cut vocabulary, attention against an explicit
// mask, bf16 against fp32.
#include "trainer/model/layers.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "tests/ranks.h"
#include "tests/trainer/golden.h"
#include "trainer/model/cross_entropy.h"
#include "trainer/model/rotary.h"

namespace spt {
namespace {

at::Tensor noise(at::IntArrayRef shape, int64_t seed) {
  int64_t numel = 1;
  for (const int64_t size : shape) numel *= size;
  return at::sin(at::arange(numel, at::kDouble) * (1.7 + 0.31 * static_cast<double>(seed)) + static_cast<double>(seed))
      .view(shape)
      .to(at::kFloat);
}

// Loss and gradients of tp ranks, each with its rows of the table, against log_softmax over the whole.
void expect_cross_entropy_equal(int64_t n, int64_t vocab, int64_t width) {
  Mesh mesh(job(), {.tp = job().size()});
  const int64_t rows = (vocab + mesh.tp->size() - 1) / mesh.tp->size();
  const int64_t begin = std::min(vocab, mesh.place.tp_rank * rows), valid = std::min(rows, vocab - begin);
  const at::Tensor table = noise({vocab, width}, 1), hidden = noise({n, width}, 2);
  const at::Tensor labels = at::arange(n, at::kLong).mul(7919).remainder(vocab);
  const double scale = 0.25;

  Parameter weight;
  weight.shape = {rows, width};
  weight.value = at::full({rows, width}, 9.0);  // the padding must not count
  weight.value.narrow(0, 0, valid).copy_(table.narrow(0, begin, valid));
  weight.value.requires_grad_(true);
  weight.grad = at::zeros({rows, width});
  const at::Tensor x = hidden.clone().requires_grad_(true);
  const at::Tensor sum = cross_entropy_sum(x, labels, weight, begin, valid, scale, *mesh.tp);
  torch::autograd::backward({sum}, {at::full_like(sum, scale)});
  at::Tensor dx = x.grad().clone();
  mesh.tp->all_reduce(dx);

  const at::Tensor logits = hidden.to(at::kDouble).mm(table.to(at::kDouble).t());
  const at::Tensor logp = at::log_softmax(logits, 1);
  const double expected = -logp.gather(1, labels.unsqueeze(1)).sum().item<double>();
  const at::Tensor dlogits = (logp.exp() - at::one_hot(labels, vocab)) * scale;
  EXPECT_NEAR(sum.item<double>(), expected, 1e-6 * expected);
  // torch's own fp32 is 1.15e-5 away with a vocabulary of 8,191.
  EXPECT_LT(distance(dx, dlogits.mm(table.to(at::kDouble))), 2e-5);
  EXPECT_LT(distance(weight.grad.narrow(0, 0, valid), dlogits.t().mm(hidden.to(at::kDouble)).narrow(0, begin, valid)),
            1e-4);
  if (valid < rows) {
    EXPECT_EQ(weight.grad.narrow(0, valid, rows - valid).abs().max().item<float>(), 0) << "padding stays zero";
  }
}

TEST(CrossEntropy, OverAVocabularyThatTpDoesNotDivide_IsTheWholeOnes) {
  expect_cross_entropy_equal(37, 1003, 16);
  expect_cross_entropy_equal(5, 13, 3);  // of 4 ranks the last holds one row
}

TEST(CrossEntropy, InSeveralChunks_IsTheWholeOnes) {
  expect_cross_entropy_equal(2500, 8191, 8);
}

// Explicit attention of one example: rotated q, k of [L, heads, D] in fp64, a mask written out.
at::Tensor rotated(const at::Tensor& x, double theta) {
  const int64_t half = x.size(2) / 2;
  const at::Tensor frequencies = at::pow(theta, -at::arange(half, at::kDouble) / static_cast<double>(half));
  const at::Tensor angles = (at::arange(x.size(0), at::kDouble).unsqueeze(1) * frequencies).unsqueeze(1);
  const at::Tensor first = x.narrow(2, 0, half), second = x.narrow(2, half, half);
  return at::cat({first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()}, 2);
}
at::Tensor attend_plainly(const at::Tensor& qkv, const HeadShape& shape, double theta) {
  const int64_t length = qkv.size(0);
  const at::Tensor all = qkv.view({length, shape.heads + 2 * shape.kv_heads, shape.head_dim});
  const int64_t group = shape.heads / shape.kv_heads;
  const at::Tensor q = rotated(all.narrow(1, 0, shape.heads), theta);
  const at::Tensor k = rotated(all.narrow(1, shape.heads, shape.kv_heads), theta).repeat_interleave(group, 1);
  const at::Tensor v = all.narrow(1, shape.heads + shape.kv_heads, shape.kv_heads).repeat_interleave(group, 1);
  at::Tensor hidden = at::zeros({length, length}, at::kBool);
  for (int64_t i = 0; i < length; ++i)
    for (int64_t j = 0; j < length; ++j)
      if (j > i || (shape.window && i - j >= *shape.window)) hidden[i][j] = true;
  const at::Tensor scores = at::einsum("ihd,jhd->hij", {q, k}) / std::sqrt(static_cast<double>(shape.head_dim));
  const at::Tensor p = scores.masked_fill(hidden, -INFINITY).softmax(-1);
  return at::einsum("hij,jhd->ihd", {p, v}).reshape({length, -1});
}

class AttentionWindow : public testing::TestWithParam<int64_t> {};  // 0: none

TEST_P(AttentionWindow, OutputAndGradient_AreThoseOfAnExplicitMask) {
  const HeadShape shape{4, 2, 8, GetParam() == 0 ? std::nullopt : std::optional(GetParam())};
  ModelConfig config;
  config.head_dim = shape.head_dim;
  config.rope.theta = 100.0;
  Layout layout;
  layout.starts = {0, 9, 10, 10 + 13};
  layout.longest = 13;
  layout.device_starts = at::tensor({0, 9, 10, 23}, at::kInt);
  const at::Tensor positions = at::cat({at::arange(9), at::arange(1), at::arange(13)}).to(at::kLong);
  layout.angles = Rotary(config, at::kCPU).at(positions);
  const at::Tensor data = noise({23, (shape.heads + 2 * shape.kv_heads) * shape.head_dim}, 3) * 2;
  const at::Tensor weights = noise({23, shape.heads * shape.head_dim}, 4);

  // Attention overwrites its argument, so it gets a product, as in the model.
  const at::Tensor leaf = data.clone().requires_grad_(true);
  const at::Tensor out = attention(leaf * 1.0, layout, shape);
  torch::autograd::backward({(out * weights).sum()}, {});

  const at::Tensor exact = data.to(at::kDouble).requires_grad_(true);
  std::vector<at::Tensor> examples;
  for (int64_t i = 0; i < layout.examples(); ++i)
    examples.push_back(attend_plainly(exact.narrow(0, layout.starts[static_cast<size_t>(i)], layout.length(i)), shape,
                                      config.rope.theta));
  const at::Tensor expected = at::cat(examples);
  torch::autograd::backward({(expected * weights).sum()}, {});
  EXPECT_LT(distance(out, expected), 1e-5);
  EXPECT_LT(distance(leaf.grad(), exact.grad()), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Widths, AttentionWindow, testing::Values(0, 1, 2, 5, 9, 12, 13, 50));

struct Bf16Case {
  const char* golden;
  double
      allowed;  // relative distance of a gradient: 1.2 times the largest of transformers' in bf16 (0.040, 0.107, 0.038)
};
class Bf16Model : public testing::TestWithParam<Bf16Case> {};

TEST_P(Bf16Model, LossAndGradients_AreNearFp32s) {
  Mesh mesh(job(), {.tp = job().size()});
  const Golden golden(GetParam().golden);
  const double count = golden.tensor("trained_count").item<double>(), exact = golden.tensor("loss_sum").item<double>();
  for (const Recompute recompute : {Recompute::kNone, Recompute::kBlock}) {
    CausalLm model(load_model_config(golden_folder(GetParam().golden)), mesh.place.tp_rank, mesh.tp->size());
    model.allocate(*mesh.tp, {{at::kBFloat16, at::kFloat, mesh.dp->size() * 64}, recompute});
    load_pretrained(model, golden_folder(GetParam().golden));
    const at::Tensor sum = model.loss_sum(golden.batch(), 1 / count);
    EXPECT_NEAR(sum.item<double>(), exact, 0.01 * exact);
    EXPECT_NE(sum.item<double>(), exact) << "computed in bf16";
    backward(sum, 1 / count);
    for (const Parameter& parameter : model.parameters().list())
      for (size_t i = 0; i < parameter.shards.size(); ++i) {
        const Shard& shard = parameter.shards[i];
        if (shard.numel() == 0) continue;
        at::Tensor expected = golden.tensor("grad." + shard.name);
        const double whole_norm = expected.norm().item<double>();
        if (!shard.replicated()) expected = expected.narrow(shard.dim, shard.begin, shard.end - shard.begin);
        EXPECT_LT((parameter.part(i, parameter.grad) - expected).norm().item<double>(), GetParam().allowed * whole_norm)
            << shard.name;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, Bf16Model,
                         testing::Values(Bf16Case{"llama", 0.048}, Bf16Case{"llama_gqa", 0.128},
                                         Bf16Case{"mistral", 0.046}),
                         [](const auto& tested) { return std::string(tested.param.golden); });

}  // namespace
}  // namespace spt
