// Against torch.optim.AdamW's formulas in fp64, on the whole buffer, with the gradients of all ranks added up.
#include "trainer/optim/zero_adamw.h"

#include <cmath>
#include <limits>
#include <utility>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "tests/ranks.h"
#include "tests/trainer/golden.h"

namespace spt {
namespace {

constexpr int64_t kLength = 96;  // 1, 2, 3 and 4 ranks divide it
const std::vector<Bucket> kBuckets = {{0, 24}, {24, 60}, {60, kLength}};
const std::vector<Segment> kSegments = {
    {0, 24, true, 1.0}, {24, 40, true, 1.0}, {40, 45, false, 1.0}, {64, 90, true, 1.0}};

// Any numbers, the same on every rank.
at::Tensor numbers(int64_t seed) {
  return at::sin(at::arange(kLength, at::kDouble) * (1.0 + 0.37 * static_cast<double>(seed)) +
                 static_cast<double>(seed));
}
// Of `rank` at `step`, zero outside the segments.
at::Tensor gradient(int rank, int64_t step) {
  const at::Tensor all = numbers(10 * step + rank + 3) * 3;
  at::Tensor out = at::zeros_like(all);
  for (const Segment& s : kSegments)
    out.narrow(0, s.begin, s.end - s.begin).copy_(all.narrow(0, s.begin, s.end - s.begin));
  return out;
}

// What this rank owns of the sum over ranks.
std::vector<at::Tensor> owned_gradients(const ZeroAdamW& optimizer, const Communicator& dp, int64_t step) {
  at::Tensor sum = at::zeros({kLength}, at::kFloat);
  for (int rank = 0; rank < dp.size(); ++rank) sum += gradient(rank, step).to(at::kFloat);
  std::vector<at::Tensor> parts;
  for (const Owned& owned : optimizer.owned()) parts.push_back(sum.narrow(0, owned.begin, owned.length));
  return parts;
}

struct Reference {
  at::Tensor p = numbers(1).to(at::kFloat).to(at::kDouble), m = at::zeros({kLength}, at::kDouble),
             v = at::zeros({kLength}, at::kDouble);
  double norm = 0;

  void step(const AdamWConfig& config, double lr, int64_t t, int ranks) {
    at::Tensor g = at::zeros({kLength}, at::kDouble);
    for (int rank = 0; rank < ranks; ++rank) g += gradient(rank, t).to(at::kFloat).to(at::kDouble);
    norm = g.norm().item<double>();
    if (config.clip_norm > 0) g *= std::min(1.0, config.clip_norm / (norm + 1e-6));
    const double b1 = config.betas[0], b2 = config.betas[1];
    for (const Segment& s : kSegments) {
      at::Tensor ps = p.narrow(0, s.begin, s.end - s.begin), ms = m.narrow(0, s.begin, s.end - s.begin);
      at::Tensor vs = v.narrow(0, s.begin, s.end - s.begin);
      const at::Tensor gs = g.narrow(0, s.begin, s.end - s.begin);
      if (s.decay) ps *= 1 - lr * config.weight_decay;
      ms.mul_(b1).add_(gs * (1 - b1));
      vs.mul_(b2).add_(gs * gs * (1 - b2));
      const at::Tensor root = vs.sqrt() / std::sqrt(1 - std::pow(b2, static_cast<double>(t + 1))) + config.eps;
      ps -= lr / (1 - std::pow(b1, static_cast<double>(t + 1))) * ms / root;
    }
  }
};

class ZeroAdamWOverDp : public testing::TestWithParam<double> {  // the clipping norm
 protected:
  ZeroAdamWOverDp() { config_.clip_norm = GetParam(); }

  Mesh mesh_{job(), {}};
  AdamWConfig config_;
};

TEST_P(ZeroAdamWOverDp, Steps_AreTorchsWhateverTheNumberOfRanks) {
  const at::Tensor values = numbers(1).to(at::kFloat);
  ZeroAdamW optimizer(values, kBuckets, kSegments, config_, *mesh_.dp, mesh_.world);
  Reference reference;
  for (int64_t step = 0; step < 6; ++step) {
    const double lr = 1e-2 * static_cast<double>(6 - step);
    const double norm = optimizer.step(lr, owned_gradients(optimizer, *mesh_.dp, step)).item<double>();
    optimizer.finish_gathering();
    reference.step(config_, lr, step, mesh_.dp->size());
    EXPECT_NEAR(norm, reference.norm, 1e-6 * reference.norm);
    EXPECT_LT(distance(values, reference.p), 2e-6) << "step " << step;
  }
  EXPECT_EQ(optimizer.steps(), 6);
  int64_t length = 0;
  for (const Owned& owned : optimizer.owned()) {
    const auto off = [&](AdamWState which, const at::Tensor& expected) {
      return distance(optimizer.state(which, owned.at, owned.length), expected.narrow(0, owned.begin, owned.length));
    };
    EXPECT_LT(off(AdamWState::kFirstMoment, reference.m), 1e-6 * reference.norm);
    EXPECT_LT(off(AdamWState::kSecondMoment, reference.v), 1e-6 * reference.norm);
    length += owned.length;
  }
  EXPECT_EQ(length, kLength / mesh_.dp->size());
}

INSTANTIATE_TEST_SUITE_P(Clip, ZeroAdamWOverDp, testing::Values(0.0, 1.0, 1e6), [](const auto& tested) {
  return tested.index == 0 ? "Off" : tested.index == 1 ? "Tight" : "Wide";
});

TEST(ZeroAdamW, Bf16Values_FollowAnFp32Master) {
  Mesh mesh(job(), {});
  const at::Tensor values = numbers(1).to(at::kBFloat16);
  AdamWConfig config;
  ZeroAdamW optimizer(values, kBuckets, kSegments, config, *mesh.dp, mesh.world);
  EXPECT_TRUE(optimizer.has_master());
  Reference reference;
  reference.p = values.to(at::kDouble);
  const at::Tensor start = values.clone();
  // Steps below bf16's resolution for most elements: only the master can add them up.
  for (int64_t step = 0; step < 30; ++step) {
    optimizer.step(3e-4, owned_gradients(optimizer, *mesh.dp, step));
    optimizer.finish_gathering();
    reference.step(config, 3e-4, step, mesh.dp->size());
  }
  for (const Owned& owned : optimizer.owned()) {
    const at::Tensor master = optimizer.state(AdamWState::kMaster, owned.at, owned.length);
    EXPECT_LT(distance(master, reference.p.narrow(0, owned.begin, owned.length)), 5e-6);
    EXPECT_EQ(distance(values.narrow(0, owned.begin, owned.length), master.to(at::kBFloat16)), 0);
  }
  EXPECT_GT(distance(values, start), 1e-3);
}

// More elements than are updated at once.
TEST(ZeroAdamW, LongBf16Values_MoveAsFp32OnesWould) {
  Mesh mesh(job(), {});
  const int64_t length = 12 * 150'000;
  const std::vector<Bucket> buckets = {{0, length}};
  const std::vector<Segment> segments = {{0, length - 7, true, 1.0}};
  const at::Tensor start = at::sin(at::arange(length, at::kFloat)).to(at::kBFloat16), wide = start.to(at::kFloat);
  ZeroAdamW narrow_one(start, buckets, segments, {}, *mesh.dp, mesh.world),
      wide_one(wide, buckets, segments, {}, *mesh.dp, mesh.world);
  const Owned& owned = wide_one.owned()[0];
  for (int64_t step = 0; step < 3; ++step) {
    const at::Tensor grads = at::cos(at::arange(owned.length, at::kFloat) * (1 + static_cast<double>(step)));
    narrow_one.step(1e-3, {grads});
    narrow_one.finish_gathering();
    wide_one.step(1e-3, {grads});
    wide_one.finish_gathering();
  }
  // The last bit hangs on which elements the fused kernel's vectors hold.
  EXPECT_LT(distance(narrow_one.state(AdamWState::kMaster, owned.at, owned.length),
                     wide_one.state(AdamWState::kMaster, owned.at, owned.length)),
            2e-7);
}

// A loss or gradients that are not finite leave everything as it is, to the bit, but for the count of steps.
TEST(ZeroAdamW, ABadStep_IsCountedButNotApplied) {
  Mesh mesh(job(), {});
  const double nan = std::nan(""), infinite = std::numeric_limits<double>::infinity();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16})
    for (const double clip : {0.0, 1.0})
      for (const auto& [loss, element] :
           {std::pair(nan, 1.0), {infinite, 1.0}, {1.0, nan}, {1.0, infinite}, {-infinite, infinite}}) {
        AdamWConfig config;
        config.clip_norm = clip;
        const at::Tensor values = numbers(1).to(dtype);
        ZeroAdamW optimizer(values, kBuckets, kSegments, config, *mesh.dp, mesh.world);
        const auto step = [&](double of_loss, double of_element) {
          std::vector<at::Tensor> grads = owned_gradients(optimizer, *mesh.dp, 0);
          if (mesh.dp->rank() == 0) grads[1][0] = of_element;  // in a segment, whatever dp
          const at::Tensor norm = optimizer.step(1e-2, grads, at::full({}, of_loss, at::kDouble));
          optimizer.finish_gathering();
          return norm.item<double>();
        };
        const auto all = [&] {
          std::vector<at::Tensor> state{values.clone()};
          for (const Owned& owned : optimizer.owned())
            for (const AdamWState which : {AdamWState::kFirstMoment, AdamWState::kSecondMoment, AdamWState::kMaster})
              state.push_back(optimizer.state(which, owned.at, owned.length).clone());
          return state;
        };
        const auto are_equal = [&](const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
          bool equal = true;
          for (size_t i = 0; i < a.size(); ++i) equal = equal && at::equal(a[i], b[i]);
          return equal;
        };
        EXPECT_TRUE(std::isfinite(step(1.0, 1.0)));
        const std::vector<at::Tensor> before = all();
        EXPECT_EQ(std::isfinite(step(loss, element)), std::isfinite(element));
        EXPECT_TRUE(are_equal(all(), before)) << "loss " << loss << ", a gradient " << element << ", clip " << clip;
        EXPECT_EQ(optimizer.steps(), 2);
        step(1.0, 1.0);
        EXPECT_FALSE(are_equal(all(), before));
      }
}

TEST(ZeroAdamW, Fp32Values_AreTheirOwnMaster) {
  Mesh mesh(job(), {});
  at::Tensor values = numbers(1).to(at::kFloat);
  ZeroAdamW optimizer(values, kBuckets, kSegments, {}, *mesh.dp, mesh.world);
  EXPECT_FALSE(optimizer.has_master());
}

TEST(ZeroAdamW, WhatEveryTpRankHolds_CountsOnceInTheNorm) {
  Mesh mesh(job(), {.tp = job().size()});
  const double tp = mesh.tp->size();
  ZeroAdamW optimizer(at::zeros({32}, at::kFloat), {{0, 32}}, {{0, 16, true, 1.0}, {16, 32, false, 1.0 / tp}}, {},
                      *mesh.dp, mesh.world);
  EXPECT_NEAR(optimizer.step(1e-3, {at::ones({32}, at::kFloat)}).item<double>(), std::sqrt(16 * tp + 16), 1e-9);
  optimizer.finish_gathering();
}

}  // namespace
}  // namespace spt
