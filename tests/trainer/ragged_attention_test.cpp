// The choice between two libraries' attention, and on a GPU both of them against the CPU's.
#include "trainer/model/ragged_attention.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <torch/csrc/autograd/autograd.h>

#include "dist/cuda_device.h"

namespace spt {
namespace {

using testing::HasSubstr;

TEST(WhyNoCudnn, NamesDeviceDtypeOrWindow_AndNothingWhereItCanBeHad) {
  const at::Device gpu(at::kCUDA, 0);
  EXPECT_THAT(why_no_cudnn(at::kCPU, at::kBFloat16, std::nullopt).value_or(""), HasSubstr("GPUs only"));
  EXPECT_THAT(why_no_cudnn(gpu, at::kFloat, std::nullopt).value_or(""), HasSubstr("fp32"));
  EXPECT_THAT(why_no_cudnn(gpu, at::kBFloat16, 4096).value_or(""), HasSubstr("4096"));
  EXPECT_EQ(why_no_cudnn(gpu, at::kBFloat16, std::nullopt), std::nullopt);
}

TEST(WaysCompared, CudnnIsTaken_OnlyWhereItIsFasterAndNear) {
  const WaysCompared faster{2e-3, 1e-3, 0.5, ""}, slower{1e-3, 2e-3, 0.5, ""}, equal{1e-3, 1e-3, 0.5, ""},
      far{2e-3, 1e-3, 1.5, ""}, lost{2e-3, 1e-3, INFINITY, ""}, failed{2e-3, 0, 0, "no plan"};
  EXPECT_TRUE(faster.prefers_cudnn());
  EXPECT_THAT(faster.describe(), HasSubstr("cudnn (flash takes 2.00 ms a micro-batch, cuDNN 1.00 ms)"));
  for (const WaysCompared& one : {slower, equal, far, lost, failed}) {
    EXPECT_FALSE(one.prefers_cudnn());
    EXPECT_EQ(one.describe().substr(0, 5), "flash");
  }
  EXPECT_THAT(failed.describe(), HasSubstr("no plan"));
  EXPECT_THAT(far.describe(), HasSubstr("1.5 times as far"));
}

// [T, heads, width] with all heads of a token side by side, as the model's q, k and v lie.
at::Tensor noise(at::IntArrayRef shape, double seed) {
  const at::Tensor places = at::arange(c10::multiply_integers(shape), at::kDouble);
  return at::sin(places * (1.7 + 0.31 * seed) + seed).view(shape).to(at::kBFloat16);
}

class GpuKernelsRaggedAttention : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU visible here";
  }

  static constexpr int64_t kHeads = 8, kKvHeads = 2, kWidth = 64;
  const std::vector<int64_t> starts_{0, 70, 71, 300};
  const int64_t tokens_ = starts_.back(), longest_ = 229;
  const at::Tensor qkv_ = noise({tokens_, kHeads + 2 * kKvHeads, kWidth}, 1), g_ = noise({tokens_, kHeads, kWidth}, 2);

  RaggedInput on_gpu() const {
    const at::Tensor all = qkv_.to(at::kCUDA);
    return {all.narrow(1, 0, kHeads),
            all.narrow(1, kHeads, kKvHeads),
            all.narrow(1, kHeads + kKvHeads, kKvHeads),
            at::tensor(starts_, at::kInt).to(at::kCUDA),
            longest_,
            std::nullopt};
  }

  // Output and gradients [T, H + 2K, D] by the formula in fp64.
  std::vector<at::Tensor> exact() const {
    const at::Tensor leaf = qkv_.to(at::kDouble).requires_grad_(true);
    std::vector<at::Tensor> outputs;
    for (size_t i = 0; i + 1 < starts_.size(); ++i) {
      const int64_t length = starts_[i + 1] - starts_[i];
      const at::Tensor one = leaf.narrow(0, starts_[i], length).transpose(0, 1);
      const auto of_group = [&](int64_t first) {
        return one.narrow(0, first, kKvHeads).repeat_interleave(kHeads / kKvHeads, 0);
      };
      const at::Tensor scores =
          at::matmul(one.narrow(0, 0, kHeads), of_group(kHeads).transpose(1, 2)) / std::sqrt(kWidth);
      const at::Tensor hidden = at::ones({length, length}, at::kBool).triu(1);
      outputs.push_back(
          at::matmul(scores.masked_fill(hidden, -INFINITY).softmax(-1), of_group(kHeads + kKvHeads)).transpose(0, 1));
    }
    const at::Tensor out = at::cat(outputs);
    torch::autograd::backward({out}, {g_.to(at::kDouble)});
    return {out.detach(), leaf.grad()};
  }
};

TEST_F(GpuKernelsRaggedAttention, BothWays_AreTheFormula) {
  const std::vector<at::Tensor> expected = exact();
  const RaggedInput in = on_gpu();
  for (const AttentionWay way : {AttentionWay::kFlash, AttentionWay::kCudnn}) {
    const RaggedOutput output = ragged_attention(way, in);
    const RaggedGradient d = ragged_attention_backward(way, g_.to(at::kCUDA), in, output);
    const at::Tensor found[] = {output.out, at::cat({d.q, d.k, d.v}, 1)};
    for (size_t i = 0; i < 2; ++i) {
      const at::Tensor apart = (found[i].cpu().to(at::kDouble) - expected[i]).abs();
      EXPECT_LT(apart.max().item<double>(), 0.02 * expected[i].abs().max().item<double>())
          << (way == AttentionWay::kFlash ? "flash" : "cudnn") << (i == 0 ? ", output" : ", gradients");
    }
  }
}

TEST_F(GpuKernelsRaggedAttention, Compared_AgreeAndHaveTimes) {
  const WaysCompared compared = compare_ways(on_gpu(), 3);
  EXPECT_EQ(compared.error, "");
  EXPECT_LE(compared.apart, 1) << compared.describe();
  EXPECT_GT(compared.flash_seconds, 0);
  EXPECT_GT(compared.cudnn_seconds, 0);
}

}  // namespace
}  // namespace spt
