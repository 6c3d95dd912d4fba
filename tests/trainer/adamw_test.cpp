#include "trainer/optim/adamw.h"

#include <cmath>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "trainer/optim/split_master.h"

namespace spt {
namespace {

constexpr double kLr = 1e-3, kBeta1 = 0.9, kBeta2 = 0.95, kEps = 1e-8;

struct Way {
  const char* name;
  at::ScalarType value, grad;
};
std::ostream& operator<<(std::ostream& out, const Way& way) {
  return out << way.name;
}

// What a step is about, as tensors: the masters' lower halves where values are bf16.
struct State {
  explicit State(const Way& way, int64_t n)
      : grad(at::randn({n}, at::kFloat).to(way.grad)), m(at::randn({n}) * 1e-2), v(at::rand({n}) * 1e-3) {
    const at::Tensor master = at::randn({n}) * 0.1;
    if (way.value == at::kFloat) {
      value = master;
    } else {
      value = at::empty({n}, at::kBFloat16);
      lower = at::empty({n}, at::kShort);
      split_master(master, value, lower);
    }
  }
  at::Tensor master() const { return lower.defined() ? join_master(value, lower) : value.clone(); }
  State copy() const {
    State other = *this;
    for (at::Tensor* x : {&other.m, &other.v, &other.value, &other.lower})
      if (x->defined()) *x = x->clone();
    return other;
  }
  State to(at::Device device) const {
    State other = *this;
    for (at::Tensor* x : {&other.grad, &other.m, &other.v, &other.value, &other.lower})
      if (x->defined()) *x = x->to(device);
    return other;
  }
  State part(int64_t begin, int64_t length) const {
    State other = *this;
    for (at::Tensor* x : {&other.grad, &other.m, &other.v, &other.value, &other.lower})
      if (x->defined()) *x = x->narrow(0, begin, length);
    return other;
  }
  void step(double factor, double decay, int64_t step) const {
    adamw({kLr, kBeta1, kBeta2, kEps, decay, step}, at::full({}, factor, grad.options().dtype(at::kFloat)), grad, m, v,
          value, lower);
  }
  bool operator==(const State& other) const {
    return m.equal(other.m) && v.equal(other.v) && value.equal(other.value) &&
           (!lower.defined() || lower.equal(other.lower));
  }

  at::Tensor grad, m, v, value, lower;
};

class AdamW : public testing::TestWithParam<Way> {};

// torch.optim.AdamW's operations, in fp64.
TEST_P(AdamW, IsTheFormula) {
  for (const double decay : {0.0, 0.1})
    for (const int64_t step : {1, 7}) {
      const State before(GetParam(), 100'003);
      const State after = before.copy();
      after.step(0.5, decay, step);
      const at::Tensor g = before.grad.to(at::kDouble) * 0.5;
      const at::Tensor m = before.m.to(at::kDouble) * kBeta1 + g * (1 - kBeta1);
      const at::Tensor v = before.v.to(at::kDouble) * kBeta2 + g * g * (1 - kBeta2);
      const double count = static_cast<double>(step);
      const at::Tensor root = (v / (1 - std::pow(kBeta2, count))).sqrt() + kEps;
      const at::Tensor value =
          before.master().to(at::kDouble) * (1 - kLr * decay) - m / root * (kLr / (1 - std::pow(kBeta1, count)));
      EXPECT_TRUE(after.m.to(at::kDouble).allclose(m, 1e-6, 3e-8));
      EXPECT_TRUE(after.v.to(at::kDouble).allclose(v, 1e-6, 1e-12));
      EXPECT_TRUE(after.master().to(at::kDouble).allclose(value, 1e-6, 1e-8));
      EXPECT_FALSE(after == before);
      if (after.lower.defined()) {  // the value is the master, rounded
        State again = after.copy();
        split_master(after.master(), again.value, again.lower);
        EXPECT_TRUE(again == after);
      }
    }
}

TEST_P(AdamW, AFactorThatIsNotFinite_LeavesEverythingAsItIs) {
  const State before(GetParam(), 1000);
  for (const double factor : {double{NAN}, double{INFINITY}}) {
    const State after = before.copy();
    after.step(factor, 0.1, 3);
    EXPECT_TRUE(after == before);
  }
}

TEST_P(AdamW, AMasterThatIsNone_StaysNone) {
  State state(GetParam(), 64);
  state.grad[5] = NAN;
  state.step(1, 0.1, 1);
  EXPECT_EQ(state.value.isnan().sum().item<int64_t>(), 1);
  EXPECT_TRUE(std::isnan(state.master()[5].item<float>()));
}

TEST_P(AdamW, HasTheSameBitsHoweverItIsCut) {
  const State before(GetParam(), 70'001);
  const State whole = before.copy(), parts = before.copy();
  whole.step(0.7, 0.1, 2);
  int64_t begin = 0;
  for (const int64_t length : {1, 3, 7, 8, 16, 31, 33, 1000, 33'333, 35'569}) {
    parts.part(begin, length).step(0.7, 0.1, 2);
    begin += length;
  }
  ASSERT_EQ(begin, 70'001);
  EXPECT_TRUE(whole == parts);
}

const Way kWays[] = {{"Fp32", at::kFloat, at::kFloat},
                     {"Fp32ByBf16", at::kFloat, at::kBFloat16},
                     {"Bf16", at::kBFloat16, at::kFloat},
                     {"Bf16ByBf16", at::kBFloat16, at::kBFloat16}};
INSTANTIATE_TEST_SUITE_P(Ways, AdamW, testing::ValuesIn(kWays),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(GpuKernelsOfTheOptimizer, AdamW_IsTheCpus) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no GPU visible here";
  for (const Way& way : kWays)
    for (const int64_t begin : {0, 1}) {  // aligned and not
      const State cpu = State(way, 100'004).part(begin, 100'003);
      const State gpu = cpu.to(at::kCUDA);
      const State before = cpu.copy();
      gpu.step(NAN, 0.1, 3);
      EXPECT_TRUE(gpu.to(at::kCPU) == before) << way;
      cpu.step(0.5, 0.1, 3);
      gpu.step(0.5, 0.1, 3);
      const State back = gpu.to(at::kCPU);
      EXPECT_TRUE(back.m.allclose(cpu.m, 1e-6, 3e-8)) << way;
      EXPECT_TRUE(back.v.allclose(cpu.v, 1e-6, 1e-12)) << way;
      EXPECT_TRUE(back.master().allclose(cpu.master(), 1e-6, 1e-8)) << way;
    }
}

}  // namespace
}  // namespace spt
