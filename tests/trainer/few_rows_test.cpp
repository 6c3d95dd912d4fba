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

// One place and many, a window, widths that a warp's pairs do and do not fill, groups of one to eight heads.
TEST(GpuKernelsOfGeneration, AttendToCaches_IsTheCpus) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no GPU visible here";
  struct Case {
    int64_t kv_heads, group, width, sequences;
  };
  for (const auto& [kv_heads, group, width, count] :
       {Case{2, 3, 20, 3}, {8, 4, 128, 5}, {4, 1, 64, 70}, {1, 8, 256, 1}, {3, 3, 64, 2}})
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const int64_t capacity = 700;
      const auto drawn = [&](at::IntArrayRef shape) { return at::randn(shape, at::kFloat).to(dtype); };
      const at::Tensor q = drawn({count, kv_heads * group, width}), k = drawn({count, kv_heads, width}),
                       v = drawn({count, kv_heads, width});
      std::vector<CachedSequence> cpu, gpu;
      for (int64_t row = 0; row < count; ++row) {
        const int64_t past = row * 97 % 600, first = row % 3 == 2 ? past / 2 : 0;
        const at::Tensor keys = drawn({kv_heads, capacity, width}), values = drawn({kv_heads, capacity, width});
        cpu.push_back({row, keys.to(at::kFloat), values.to(at::kFloat), first, past});
        gpu.push_back({row, keys.to(at::kCUDA), values.to(at::kCUDA), first, past});
      }
      const at::Tensor expected = at::empty({count, kv_heads * group, width}, at::kFloat);
      const at::Tensor found = at::empty({count, kv_heads * group, width}, at::TensorOptions(at::kCUDA).dtype(dtype));
      attend_to_caches(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), cpu, expected);
      attend_to_caches(q.to(at::kCUDA), k.to(at::kCUDA), v.to(at::kCUDA), gpu, found);
      EXPECT_TRUE(found.cpu().to(at::kFloat).allclose(expected, 1e-2, dtype == at::kFloat ? 1e-5 : 1e-2))
          << "width " << width << ", group " << group << " " << dtype;
      for (size_t i = 0; i < cpu.size(); ++i) {
        EXPECT_TRUE(gpu[i].keys.cpu().to(at::kFloat).equal(cpu[i].keys)) << "the new key stands in its place";
        EXPECT_TRUE(gpu[i].values.cpu().to(at::kFloat).equal(cpu[i].values));
      }
    }
}

}  // namespace
}  // namespace spt
