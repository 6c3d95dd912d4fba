#include "trainer/gradients.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "tests/ranks.h"
#include "tests/trainer/golden.h"
#include "trainer/model/causal_lm.h"
#include "trainer/model/pretrained.h"

namespace spt {
namespace {

struct Way {
  bool sharded = false;
  bool overlap = false;
  Recompute recompute = Recompute::kNone;
  at::ScalarType dtype = at::kFloat, grad_dtype = at::kFloat;
};

// What each rank owns after two backward passes, of which rank 0 skips the second. Every rank has its own batches.
std::vector<at::Tensor> owned_gradients(const Way& way) {
  const Golden golden("llama_gqa");
  Mesh mesh(job(), {});
  CausalLm model(load_model_config(golden_folder("llama_gqa")), 0, 1);
  model.allocate(*mesh.tp, {{way.dtype, way.grad_dtype, mesh.dp->size() * 64, way.sharded ? (way.overlap ? 2 : 1) : 0},
                            way.recompute});
  load_pretrained(model, golden_folder("llama_gqa"));
  Gradients gradients(model.parameters(), *mesh.dp, way.overlap);
  if (way.sharded || way.overlap) model.on_bucket_complete([&](size_t bucket) { gradients.bucket_complete(bucket); });
  for (int pass = 0; pass < 2; ++pass) {
    if (pass == 1 && mesh.dp->rank() == 0) {
      gradients.skip_pass();
      continue;
    }
    gradients.begin_pass(pass == 1);
    const int64_t step = (2 * mesh.dp->rank() + pass) % 10;
    backward(model.loss_sum(golden.batch("step" + std::to_string(step) + "."), 1.0), 1.0);
  }
  gradients.finish();
  std::vector<at::Tensor> owned;
  for (const at::Tensor& part : gradients.owned()) owned.push_back(part.clone());
  gradients.clear();
  for (const at::Tensor& part : gradients.owned()) EXPECT_EQ(part.abs().sum().item<double>(), 0);
  return owned;
}

TEST(Gradients, Sharded_AreThoseThatAreKeptWhole) {
  for (const Recompute recompute : {Recompute::kNone, Recompute::kAttention, Recompute::kBlock}) {
    const auto whole = owned_gradients({.recompute = recompute});
    const auto sharded = owned_gradients({.sharded = true, .recompute = recompute});
    ASSERT_EQ(whole.size(), sharded.size());
    double largest = 0;
    for (const at::Tensor& part : whole) largest = std::max(largest, part.abs().max().item<double>());
    EXPECT_GT(largest, 0);
    for (size_t i = 0; i < whole.size(); ++i)
      EXPECT_LT(distance(whole[i], sharded[i]), 1e-6 * largest) << "bucket " << i;
  }
}

TEST(Gradients, Overlapped_HaveTheSameBits) {
  for (const auto& [dtype, grad_dtype] : {std::pair(at::kFloat, at::kFloat), std::pair(at::kBFloat16, at::kFloat),
                                          std::pair(at::kBFloat16, at::kBFloat16)})
    for (const bool sharded : {false, true}) {
      const Way way{.sharded = sharded, .dtype = dtype, .grad_dtype = grad_dtype};
      Way with_overlap = way;
      with_overlap.overlap = true;
      const auto usual = owned_gradients(way), overlapped = owned_gradients(with_overlap);
      ASSERT_EQ(usual.size(), overlapped.size());
      for (size_t i = 0; i < usual.size(); ++i)
        EXPECT_TRUE(at::equal(usual[i], overlapped[i])) << dtype << ", sharded " << sharded << ", bucket " << i;
    }
}

TEST(Gradients, InBf16_AreNearThoseOfFp32) {
  const auto exact = owned_gradients({});
  for (const bool sharded : {false, true}) {
    const auto rounded = owned_gradients({.sharded = sharded, .grad_dtype = at::kBFloat16});
    for (size_t i = 0; i < exact.size(); ++i) {
      const double largest = exact[i].abs().max().item<double>();
      EXPECT_LE(distance(exact[i], rounded[i]), 0.02 * largest) << "sharded " << sharded << ", bucket " << i;
      if (largest > 0) EXPECT_GT(distance(exact[i], rounded[i]), 0) << "nothing was rounded";
    }
  }
}

TEST(Gradients, Sharded_TakeTheMemoryOfOneBlock) {
  Mesh mesh(job(), {.tp = job().size()});
  CausalLm model(load_model_config(golden_folder("llama_gqa")), mesh.place.tp_rank, mesh.tp->size());
  model.allocate(*mesh.tp, {{at::kFloat, at::kFloat, 64, 1}});
  const Parameters& parameters = model.parameters();
  int64_t expected = parameters.buckets()[1].length();
  for (size_t bucket = 0; bucket < parameters.buckets().size(); ++bucket)
    if (parameters.keeps_gradients(bucket)) expected += parameters.buckets()[bucket].length();
  EXPECT_EQ(parameters.grads(0).storage().nbytes(), static_cast<size_t>(expected) * sizeof(float));
  EXPECT_LT(expected, parameters.values().numel());
}

}  // namespace
}  // namespace spt
