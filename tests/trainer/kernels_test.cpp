// The kernels of a decoder layer: the CPU's against plain formulas in fp64, both ways, and a GPU's against the CPU's.
#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "dist/cuda_device.h"
#include "trainer/model/kernels/elementwise.h"
#include "trainer/model/kernels/softmax_loss.h"
#include "trainer/model/layers.h"

namespace spt {
namespace {

constexpr double kEps = 1e-5;
const std::vector<at::ScalarType> kDtypes{at::kFloat, at::kBFloat16};

// Values in [-2, 2] that differ from each other.
at::Tensor noise(at::IntArrayRef shape, int64_t seed, at::ScalarType dtype) {
  const auto step = 1.7 + 0.31 * static_cast<double>(seed);
  const at::Tensor places = at::arange(c10::multiply_integers(shape), at::kDouble);
  return at::sin(places * step + static_cast<double>(seed)).mul_(2).view(shape).to(dtype);
}

// Within one rounding of the dtype of `found` (two where `exact` was rounded as well), and what sums in fp32 lose.
void expect_near(const at::Tensor& found, const at::Tensor& exact, const std::string& what) {
  ASSERT_EQ(found.sizes(), exact.sizes()) << what;
  const at::Tensor wide = exact.cpu().to(at::kDouble);
  const double rounding = exact.scalar_type() == at::kBFloat16 ? 1.0 / 125 : 1.0 / 250;
  const double relative = found.scalar_type() == at::kBFloat16 ? rounding : 2e-5;
  const double absolute = wide.numel() == 0 ? 0 : 2e-5 * std::max(1.0, wide.abs().max().item<double>());
  const at::Tensor apart = (found.cpu().to(at::kDouble) - wide).abs() - (wide.abs() * relative + absolute);
  // A comparison with NaN is false.
  EXPECT_TRUE(apart.le(0).all().item<bool>()) << what << ": apart by " << apart.max().item<double>() << " too much";
}

std::string named(const char* what, at::IntArrayRef shape, at::ScalarType dtype) {
  std::ostringstream text;
  text << what << " of " << dtype << " " << shape;
  return text.str();
}

at::Tensor exact_leaf(const at::Tensor& x) {
  return x.to(at::kDouble).requires_grad_(true);
}
void backward_from(const at::Tensor& y, const at::Tensor& g) {
  torch::autograd::backward({y}, {g.to(at::kDouble)}, /*retain_graph=*/true);
}

at::Tensor plain_norm(const at::Tensor& x, const at::Tensor& weight) {
  return x * (x.square().mean(-1, true) + kEps).rsqrt() * weight;
}
at::Tensor plain_swiglu(const at::Tensor& gate_up) {
  const std::vector<at::Tensor> halves = gate_up.chunk(2, 1);
  return halves[0] * halves[0].sigmoid() * halves[1];
}

struct Shape {
  int64_t rows, width;
};
// Below and above a vector, a stretch of rows, and what several threads share.
const std::vector<Shape> kShapes{{1, 1}, {3, 7}, {2, 16}, {65, 33}, {130, 64}, {40, 1000}};

TEST(RmsNormKernel, ForwardAndBackward_AreThoseOfTheFormula) {
  for (const at::ScalarType dtype : kDtypes)
    for (const auto [rows, width] : kShapes) {
      const at::Tensor x = noise({rows, width}, 1, dtype), weight = noise({width}, 2, dtype),
                       g = noise({rows, width}, 3, dtype), more = noise({rows, width}, 4, dtype);
      const at::Tensor exact_x = exact_leaf(x), exact_weight = exact_leaf(weight);
      const at::Tensor exact = plain_norm(exact_x, exact_weight);
      backward_from(exact, g);

      const Normed normed = rms_norm_forward(x, weight, kEps);
      expect_near(normed.out, exact.detach(), named("output", x.sizes(), dtype));
      const at::Tensor before = noise({width}, 5, at::kFloat);
      for (const at::Tensor& past : {at::Tensor(), more}) {
        const at::Tensor dweight = before.clone();
        const at::Tensor dx = rms_norm_backward(g, x, weight, normed.rstd, dweight, past);
        expect_near(dx, past.defined() ? exact_x.grad() + past : exact_x.grad(), named("dx", x.sizes(), dtype));
        expect_near(dweight, exact_weight.grad() + before, named("dweight", x.sizes(), dtype));
      }
    }
}

TEST(RmsNormKernel, OfASum_IsTheNormOfTheSumAsItIsRounded) {
  for (const at::ScalarType dtype : kDtypes)
    for (const auto [rows, width] : kShapes) {
      const at::Tensor x = noise({rows, width}, 1, dtype), delta = noise({rows, width}, 2, dtype),
                       weight = noise({width}, 3, dtype);
      const NormedSum added = add_rms_norm_forward(x, delta, weight, kEps);
      EXPECT_TRUE(at::equal(added.sum, x + delta)) << named("sum", x.sizes(), dtype);
      const Normed normed = rms_norm_forward(added.sum, weight, kEps);
      EXPECT_TRUE(at::equal(added.normed.out, normed.out)) << named("norm", x.sizes(), dtype);
      EXPECT_TRUE(at::equal(added.normed.rstd, normed.rstd));
    }
}

TEST(AddRmsNorm, GradientsOfBothResults_ReachBothTerms) {
  for (const at::ScalarType dtype : kDtypes)
    for (const auto [rows, width] : kShapes) {
      const at::Tensor x = noise({rows, width}, 1, dtype).requires_grad_(true),
                       delta = noise({rows, width}, 2, dtype).requires_grad_(true);
      Parameter weight;
      weight.shape = {width};
      weight.value = noise({width}, 3, dtype).requires_grad_(true);
      weight.grad = at::zeros({width});
      const at::Tensor g_sum = noise({rows, width}, 4, dtype), g_norm = noise({rows, width}, 5, dtype);
      const auto [sum, normed] = add_rms_norm(x, delta, weight, kEps);
      torch::autograd::backward({sum, normed}, {g_sum, g_norm});

      // The rounding of the sum has no derivative.
      const at::Tensor exact = exact_leaf(sum.detach()), exact_weight = exact_leaf(weight.value.detach());
      backward_from(plain_norm(exact, exact_weight), g_norm);
      expect_near(x.grad(), exact.grad() + g_sum, named("dx", x.sizes(), dtype));
      expect_near(delta.grad(), exact.grad() + g_sum, named("ddelta", x.sizes(), dtype));
      expect_near(weight.grad, exact_weight.grad(), named("dweight", x.sizes(), dtype));
    }
}

TEST(SwigluKernel, ForwardAndBackward_AreThoseOfTheFormula) {
  for (const at::ScalarType dtype : kDtypes)
    for (const auto [rows, width] : kShapes) {
      const at::Tensor gate_up = noise({rows, 2 * width}, 1, dtype) * 3, g = noise({rows, width}, 2, dtype);
      const at::Tensor exact_in = exact_leaf(gate_up), exact = plain_swiglu(exact_in);
      backward_from(exact, g);
      expect_near(swiglu_forward(gate_up), exact.detach(), named("output", gate_up.sizes(), dtype));
      expect_near(swiglu_backward(g, gate_up), exact_in.grad(), named("gradient", gate_up.sizes(), dtype));
    }
}

struct RotaryCase {
  int64_t tokens, heads, unturned, head_dim;  // `unturned` heads lie behind those that are turned
};
const std::vector<RotaryCase> kRotaryCases{{1, 1, 0, 2}, {5, 3, 2, 6}, {9, 6, 2, 64}, {33, 5, 1, 34}};

at::Tensor plain_rotation(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const at::Tensor c = cos.to(at::kDouble).unsqueeze(1), s = sin.to(at::kDouble).unsqueeze(1);
  const std::vector<at::Tensor> halves = x.to(at::kDouble).chunk(2, 2);
  return at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, 2);
}

TEST(RotaryKernel, TurnsInPlaceAndBack) {
  for (const at::ScalarType dtype : kDtypes)
    for (const auto [tokens, heads, unturned, head_dim] : kRotaryCases) {
      const at::Tensor all = noise({tokens, heads + unturned, head_dim}, 1, dtype), before = all.clone();
      const at::Tensor angles = noise({tokens, head_dim / 2}, 2, at::kFloat), cos = angles.cos(), sin = angles.sin();
      const at::Tensor turned = all.narrow(1, 0, heads), old = before.narrow(1, 0, heads);
      rotate(turned, cos, sin, false);
      expect_near(turned, plain_rotation(old, cos, sin), named("turned", turned.sizes(), dtype));
      EXPECT_TRUE(at::equal(all.narrow(1, heads, unturned), before.narrow(1, heads, unturned)));
      const at::Tensor again = old.clone();
      rotate(again, cos, sin, true);
      expect_near(again, plain_rotation(old, cos, -sin), named("turned back", turned.sizes(), dtype));
    }
}

// Of this rank's columns, ids from `begin`; labels from all of the vocabulary and outside of it.
struct Vocabulary {
  int64_t rows, columns, begin;
};
const std::vector<Vocabulary> kVocabularies{{1, 1, 0}, {4, 7, 3}, {3, 16, 16}, {37, 1003, 2006}, {6, 5000, 0}};

at::Tensor labels_of(const Vocabulary& vocabulary) {
  return at::arange(vocabulary.rows, at::kLong).mul(7919).remainder(vocabulary.begin + 2 * vocabulary.columns);
}

TEST(SoftmaxKernel, SumsAndGradient_AreThoseOfTheFormula) {
  for (const at::ScalarType dtype : kDtypes)
    for (const Vocabulary& vocabulary : kVocabularies) {
      const auto [rows, columns, begin] = vocabulary;
      const at::Tensor logits = noise({rows, columns}, 1, dtype) * 10, wide = logits.to(at::kDouble);
      const at::Tensor labels = labels_of(vocabulary);
      const auto [highest, sums] = softmax_sums(logits, labels, begin);
      EXPECT_TRUE(at::equal(highest, logits.to(at::kFloat).amax(1)));
      const at::Tensor mine = (labels >= begin).logical_and_(labels < begin + columns);
      const at::Tensor one_hot =
          at::one_hot(at::where(mine, labels - begin, at::zeros_like(labels)), columns) * mine.unsqueeze(1);
      expect_near(sums[0], (wide - wide.amax(1, true)).exp().sum(1), named("sum", logits.sizes(), dtype));
      EXPECT_TRUE(at::equal(sums[1], (wide * one_hot).sum(1).to(at::kFloat)));

      // As if other ranks had higher logits and made the sum larger.
      const at::Tensor of_all = highest + 0.5, sum = sums[0] * 1.5;
      const double scale = 0.25;
      const at::Tensor exact =
          ((wide - of_all.unsqueeze(1)).exp() / sum.to(at::kDouble).unsqueeze(1) - one_hot).mul(scale);
      softmax_gradient(logits, labels, begin, of_all, sum, scale);
      expect_near(logits, exact, named("gradient", logits.sizes(), dtype));
    }
}

TEST(SoftmaxKernel, OfFarApartLogits_IsFinite) {
  for (const at::ScalarType dtype : kDtypes) {
    const at::Tensor logits =
        at::tensor({-1e4, 0.0, 1e4, -3e38, 9e3, 1.0, 2.0, 3.0, 4.0}, at::kDouble).to(dtype).unsqueeze(0);
    const at::Tensor labels = at::tensor({2}, at::kLong);
    const auto [highest, sums] = softmax_sums(logits, labels, 0);
    EXPECT_EQ(sums[0].item<float>(), 1);
    softmax_gradient(logits, labels, 0, highest, sums[0], 1.0);
    EXPECT_EQ(logits.abs().max().item<float>(), 0);
  }
}

TEST(SoftmaxKernel, OfANan_IsNan) {
  for (const at::ScalarType dtype : kDtypes) {
    const at::Tensor logits = noise({2, 40}, 1, dtype);
    logits[0][17] = NAN;
    const auto [highest, sums] = softmax_sums(logits, at::tensor({1, 2}, at::kLong), 0);
    EXPECT_TRUE(std::isnan(sums[0][0].item<float>())) << "a loss that is no number has to be seen";
    EXPECT_TRUE(std::isfinite(sums[0][1].item<float>()));
  }
}

// On a GPU: long rows for blocks of many threads, more rows than a dimension of a grid's other ones may have, rows that
// lie at no multiple of 16 bytes.
const std::vector<Shape> kGpuShapes{{1, 1},     {3, 7},      {2, 16},   {65, 33},   {130, 64},    {33, 576},
                                    {40, 1000}, {300, 4096}, {5, 4100}, {3, 14336}, {70'001, 40}, {0, 64}};

class GpuKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU visible here";
  }
  static at::Tensor on_gpu(const at::Tensor& x) { return x.defined() ? x.to(at::kCUDA) : x; }
};

TEST_F(GpuKernels, RmsNorm_IsTheCpus) {
  for (const at::ScalarType dtype : kDtypes)
    for (const auto [rows, width] : kGpuShapes) {
      const at::Tensor x = noise({rows, width}, 1, dtype), weight = noise({width}, 2, dtype),
                       g = noise({rows, width}, 3, dtype), more = noise({rows, width}, 4, dtype);
      const Normed cpu = rms_norm_forward(x, weight, kEps), gpu = rms_norm_forward(on_gpu(x), on_gpu(weight), kEps);
      expect_near(gpu.out, cpu.out, named("output", x.sizes(), dtype));
      expect_near(gpu.rstd, cpu.rstd, named("rstd", x.sizes(), dtype));
      const NormedSum cpu_sum = add_rms_norm_forward(x, more, weight, kEps),
                      gpu_sum = add_rms_norm_forward(on_gpu(x), on_gpu(more), on_gpu(weight), kEps);
      EXPECT_TRUE(at::equal(gpu_sum.sum.cpu(), cpu_sum.sum)) << named("sum", x.sizes(), dtype);
      expect_near(gpu_sum.normed.out, cpu_sum.normed.out, named("norm of the sum", x.sizes(), dtype));
      for (const at::Tensor& past : {at::Tensor(), more}) {
        const at::Tensor dweight = noise({width}, 5, at::kFloat), first = on_gpu(dweight), second = on_gpu(dweight);
        const at::Tensor dx = rms_norm_backward(g, x, weight, cpu.rstd, dweight, past);
        const auto of_gpu = [&](const at::Tensor& sum) {
          return rms_norm_backward(on_gpu(g), on_gpu(x), on_gpu(weight), gpu.rstd, sum, on_gpu(past));
        };
        expect_near(of_gpu(first), dx, named("dx", x.sizes(), dtype));
        expect_near(first, dweight, named("dweight", x.sizes(), dtype));
        of_gpu(second);
        EXPECT_TRUE(at::equal(first, second)) << named("the same bits again, dweight", x.sizes(), dtype);
      }
    }
}

TEST_F(GpuKernels, Swiglu_IsTheCpus) {
  for (const at::ScalarType dtype : kDtypes)
    for (const auto [rows, width] : kGpuShapes) {
      const at::Tensor gate_up = noise({rows, 2 * width}, 1, dtype) * 60, g = noise({rows, width}, 2, dtype);
      expect_near(swiglu_forward(on_gpu(gate_up)), swiglu_forward(gate_up), named("output", gate_up.sizes(), dtype));
      expect_near(swiglu_backward(on_gpu(g), on_gpu(gate_up)), swiglu_backward(g, gate_up),
                  named("gradient", gate_up.sizes(), dtype));
    }
}

TEST_F(GpuKernels, Rotary_IsTheCpus) {
  std::vector<RotaryCase> cases = kRotaryCases;
  cases.insert(cases.end(), {{70'001, 2, 1, 16}, {50, 40, 8, 128}});
  for (const at::ScalarType dtype : kDtypes)
    for (const auto [tokens, heads, unturned, head_dim] : cases)
      for (const int64_t shift : {0, 1}) {  // elements before the first, so that none lies at 16 bytes
        const int64_t elements = tokens * (heads + unturned) * head_dim;
        const auto turned = [&](const at::Tensor& flat) {
          return flat.narrow(0, shift, elements).view({tokens, -1, head_dim}).narrow(1, 0, heads);
        };
        const at::Tensor angles = noise({tokens, head_dim / 2}, 2, at::kFloat), cos = angles.cos(), sin = angles.sin();
        for (const bool inverse : {false, true}) {
          const at::Tensor flat = noise({shift + elements}, 1, dtype), gpu_flat = on_gpu(flat);
          rotate(turned(flat), cos, sin, inverse);
          rotate(turned(gpu_flat), on_gpu(cos), on_gpu(sin), inverse);
          expect_near(gpu_flat, flat, named("all", turned(flat).sizes(), dtype));
        }
      }
}

TEST_F(GpuKernels, Softmax_IsTheCpus) {
  std::vector<Vocabulary> vocabularies = kVocabularies;
  vocabularies.insert(vocabularies.end(), {{30, 32'000, 32'000}, {3, 128'256, 0}, {70'001, 24, 24}});
  for (const at::ScalarType dtype : kDtypes)
    for (const Vocabulary& vocabulary : vocabularies) {
      const auto [rows, columns, begin] = vocabulary;
      const at::Tensor logits = noise({rows, columns}, 1, dtype) * 10, on_device = on_gpu(logits);
      const at::Tensor labels = labels_of(vocabulary), gpu_labels = on_gpu(labels);
      const SoftmaxSums cpu = softmax_sums(logits, labels, begin), gpu = softmax_sums(on_device, gpu_labels, begin);
      EXPECT_TRUE(at::equal(gpu.highest.cpu(), cpu.highest)) << named("highest", logits.sizes(), dtype);
      expect_near(gpu.sums, cpu.sums, named("sums", logits.sizes(), dtype));
      softmax_gradient(logits, labels, begin, cpu.highest, cpu.sums[0], 0.25);
      softmax_gradient(on_device, gpu_labels, begin, on_gpu(cpu.highest), on_gpu(cpu.sums[0]), 0.25);
      expect_near(on_device, logits, named("gradient", logits.sizes(), dtype));
    }
}

}  // namespace
}  // namespace spt
