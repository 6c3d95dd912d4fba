#include "trainer/model_flops.h"

#include <gtest/gtest.h>

namespace spt {
namespace {

TEST(ModelFlops, OfATokenAreSixAParameterAndAttentionsOverItsExample) {
  ModelConfig model;
  model.layers = 32;
  model.heads = 32;
  model.head_dim = 128;
  EXPECT_DOUBLE_EQ(model_flops_per_token(model, 6'738'415'616, 0), 6.0 * 6'738'415'616);
  EXPECT_DOUBLE_EQ(model_flops_per_token(model, 0, 1), 12.0 * 32 * 4096);
  // PaLM's appendix B counts so: Llama-2-7B at 4,096 tokens, 46.9 billion operations.
  EXPECT_NEAR(model_flops_per_token(model, 6'738'415'616, 4096), 46.87e9, 0.01e9);
}

TEST(ModelFlops, PeaksAreOfTheGpusThatAreListed_AndOfNoOthers) {
  EXPECT_EQ(peak_bf16_flops("NVIDIA H100 80GB HBM3"), 989e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA H200"), 989e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA A100-SXM4-80GB"), 312e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA B200"), 2250e12);
  for (const char* other :
       {"NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H200 NVL", "NVIDIA GB200", "NVIDIA A10", "NVIDIA L40S", ""})
    EXPECT_FALSE(peak_bf16_flops(other).has_value()) << other;
}

}  // namespace
}  // namespace spt
