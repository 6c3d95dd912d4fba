// Products of few rows and single queries against caches, compared with ATen in fp64.
#include "trainer/model/kernels/few_rows.h"

#include <array>
#include <cmath>
#include <vector>

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include "tests/trainer/golden.h"
#include "trainer/model/kernels/factor.h"

namespace spt {
namespace {

at::Tensor noise(at::IntArrayRef shape, double seed) {
  const int64_t numel = c10::multiply_integers(shape);
  return at::sin(at::arange(numel, at::kDouble) * (1.7 + 0.31 * seed) + seed).view(shape).to(at::kFloat);
}

TEST(MmByRows, OfAnyNumberOfRowsAndAnyWidth_IsTheProduct) {
  for (const int64_t in : {1, 7, 64, 100})
    for (const int64_t out : {1, 5, 130})
      for (const int64_t rows : {1, 2, 3, 4, 17, 64, 65}) {
        const at::Tensor x = noise({rows, in}, 1), weight = noise({out, in}, 2);
        EXPECT_LT(distance(mm_by_rows(x, weight), at::mm(x.to(at::kDouble), weight.to(at::kDouble).t())), 1e-5)
            << rows << " × " << in << " × " << out;
      }
}

TEST(MmByRows, ARowsBits_DoNotHangOnTheRowsBesideIt) {
  const at::Tensor x = noise({31, 100}, 3), weight = noise({130, 100}, 4);
  const at::Tensor together = mm_by_rows(x, weight);
  for (int64_t i = 0; i < x.size(0); ++i)
    EXPECT_TRUE(at::equal(mm_by_rows(x.narrow(0, i, 1), weight), together.narrow(0, i, 1))) << i;
}

TEST(MmByRows, OfRowsThatLieApart_IsTheProduct) {
  const at::Tensor x = noise({6, 40}, 5).narrow(1, 3, 20), weight = noise({9, 20}, 6);
  EXPECT_LT(distance(mm_by_rows(x, weight), at::mm(x, weight.t())), 1e-5);
}

TEST(MmByRows, InBf16_IsTheProductRounded) {
  for (const int64_t rows : {3, 100}) {
    const at::Tensor x = noise({rows, 64}, 7).to(at::kBFloat16), weight = noise({33, 64}, 8).to(at::kBFloat16);
    const at::Tensor out = mm_by_rows(x, weight);
    EXPECT_EQ(out.scalar_type(), at::kBFloat16);
    const at::Tensor exact = at::mm(x.to(at::kDouble), weight.to(at::kDouble).t());
    EXPECT_LT(((out.to(at::kDouble) - exact).abs() - exact.abs() / 256).max().item<double>(), 1e-5) << rows;
  }
}

TEST(Factor, IsFp32WhereBf16ProductsAreMadeSo) {
  const at::Tensor x = noise({4, 4}, 9), narrow = x.to(at::kBFloat16);
  EXPECT_TRUE(factor(x).is_same(x));
  const bool widens = multiplies_in_fp32(at::kBFloat16, at::kCPU);
  EXPECT_EQ(factor(narrow).scalar_type(), widens ? at::kFloat : at::kBFloat16);
  EXPECT_EQ(distance(factor(narrow), narrow), 0);
  EXPECT_FALSE(multiplies_in_fp32(at::kFloat, at::kCPU));
  EXPECT_FALSE(multiplies_in_fp32(at::kBFloat16, at::kCUDA));
}

// Three heads a key, a width that vectors do not divide, a window, rows of other sequences between.
TEST(AttendToCaches, IsTheFormula_AndKeepsTheNewToken) {
  const int64_t kv_heads = 2, group = 3, width = 20, tokens = 5, capacity = 80;
  const at::Tensor q = noise({tokens, kv_heads * group, width}, 1), k = noise({tokens, kv_heads, width}, 2),
                   v = noise({tokens, kv_heads, width}, 3);
  std::vector<CachedSequence> sequences;
  for (const auto& [row, first, past] : std::vector<std::array<int64_t, 3>>{{0, 0, 0}, {2, 0, 70}, {4, 13, 33}})
    sequences.push_back({row, noise({kv_heads, capacity, width}, 4.0 + static_cast<double>(row)),
                         noise({kv_heads, capacity, width}, 5.0 + static_cast<double>(row)), first, past});
  at::Tensor out = at::full({tokens, kv_heads * group, width}, 9.0, at::kFloat);
  attend_to_caches(q, k, v, sequences, out);
  for (const CachedSequence& one : sequences) {
    EXPECT_TRUE(at::equal(one.keys.select(1, one.past), k[one.row]));
    EXPECT_TRUE(at::equal(one.values.select(1, one.past), v[one.row]));
    for (int64_t head = 0; head < kv_heads * group; ++head) {
      const auto seen = [&](const at::Tensor& cache) {
        return cache[head / group].narrow(0, one.first, one.past + 1 - one.first).to(at::kDouble);
      };
      const at::Tensor scores =
          at::mv(seen(one.keys), q[one.row][head].to(at::kDouble)) / std::sqrt(static_cast<double>(width));
      EXPECT_LT(distance(out[one.row][head], at::mv(seen(one.values).t(), scores.softmax(0))), 1e-5)
          << one.row << " " << head;
    }
  }
  for (const int64_t row : {1, 3}) EXPECT_TRUE(out[row].eq(9.0).all().item<bool>()) << "of another sequence";
}

}  // namespace
}  // namespace spt
