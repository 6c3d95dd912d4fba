#include "dist/exact_sum.h"

#include <cmath>

#include <ATen/Functions.h>
#include <gtest/gtest.h>

namespace spt {
namespace {

TEST(FixedPoint, SumsAreTheSameInAnyOrder_AndNearTheTrueOnes) {
  constexpr int64_t kTerms = 7, kElements = 300'000;
  at::Tensor terms = at::randn({kTerms, kElements}, at::kFloat) * at::logspace(-6, 0, kTerms).unsqueeze(1);
  const auto sum_of = [&](const at::Tensor& order) {
    at::Tensor sums = at::zeros({kElements}, at::kLong), largest = at::zeros({}, at::kFloat);
    for (int64_t i = 0; i < kTerms; ++i) add_fixed_point(sums, terms[order[i].item<int64_t>()], largest);
    EXPECT_EQ(largest.item<float>(), terms.abs().max().item<float>());
    at::Tensor values = at::empty({kElements}, at::kFloat);
    from_fixed_point(values, sums);
    return values;
  };
  const at::Tensor forward = sum_of(at::arange(kTerms)), back = sum_of(at::arange(kTerms - 1, -1, -1));
  EXPECT_TRUE(forward.equal(back));
  EXPECT_TRUE(forward.allclose(terms.to(at::kDouble).sum(0).to(at::kFloat), 1e-6, std::ldexp(kTerms, -49)));
}

TEST(FixedPoint, ATermThatIsNoneOrTooLargeIsSeen) {
  at::Tensor sums = at::zeros({2}, at::kLong), largest = at::zeros({}, at::kFloat);
  add_fixed_point(sums, at::tensor({1.0f, -40000.0f}), largest);
  EXPECT_GT(largest.item<float>(), largest_term(1));
  EXPECT_LT(1000, largest_term(16));
  add_fixed_point(sums, at::tensor({NAN, 1.0f}), largest);
  add_fixed_point(sums, at::tensor({1.0f, 1.0f}), largest);
  EXPECT_TRUE(std::isnan(largest.item<float>()));
}

TEST(ExactSum, IsTheSameHoweverTheTensorIsCut) {
  const at::Tensor x = at::randn({256 * 1000}, at::kFloat) * at::logspace(-4, 3, 256 * 1000);
  ExactSum whole;
  whole.add_squares(x, 1);
  at::Tensor limbs = at::zeros_like(whole.limbs());
  for (const auto& part : x.split(256 * 300)) {
    ExactSum sum;
    sum.add_squares(part, 1);
    limbs += sum.limbs();
  }
  EXPECT_EQ(ExactSum::of(limbs), ExactSum::of(whole.limbs()));
  const double expected = x.to(at::kDouble).square().sum().item<double>();
  EXPECT_NEAR(ExactSum::of(limbs), expected, 1e-12 * expected);
}

TEST(ExactSum, OfNegativeAndSmallTermsIsRight_AndNoNumberStaysNone) {
  ExactSum sum;
  for (const double term : {-3.0, 1.5, 0x1p-70, -0x1p40}) sum.add(term);
  EXPECT_EQ(ExactSum::of(sum.limbs() * 5), 5 * (-1.5 - 0x1p40));
  ExactSum bad, large;
  bad.add(NAN);
  large.add(0x1p54);
  EXPECT_TRUE(std::isnan(ExactSum::of(bad.limbs())));
  EXPECT_TRUE(std::isnan(ExactSum::of(large.limbs() + sum.limbs())));
}

}  // namespace
}  // namespace spt
