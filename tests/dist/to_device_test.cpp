#include "dist/to_device.h"

#include <thread>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "dist/begun.h"
#include "tests/ranks.h"

namespace spt {
namespace {

TEST(LateNumbers, OnTheCpu_AreThereAtOnce) {
  EXPECT_EQ(LateNumbers(at::tensor({1.5, -2.0}, at::kDouble)).read(), (std::vector<double>{1.5, -2.0}));
  EXPECT_TRUE(LateNumbers(at::empty({0}, at::kDouble)).read().empty());
}

TEST(ToDevice, OnTheCpu_IsTheTensorItself) {
  const at::Tensor x = at::arange(3);
  EXPECT_EQ(to_device(x, at::kCPU).data_ptr(), x.data_ptr());
}

TEST(ToDeviceGpu, CopiesAndNumbers_ComeBehindWhatTheDeviceWasGivenBefore) {
  if (!job().device().is_cuda()) GTEST_SKIP() << "no GPU visible here";
  const at::Device device = job().device();
  const at::Tensor factor = at::rand({2048, 2048}, device);
  at::Tensor busy = factor;
  for (int i = 0; i < 50; ++i) busy = at::mm(busy, factor).clamp(0, 1);
  const at::Tensor late = busy.sum(at::kDouble).view({1});
  const LateNumbers numbers(late), copied(to_device(at::full({1}, 7.0, at::kDouble), device));
  late.zero_();  // behind the copy
  EXPECT_GT(numbers.read()[0], 0);
  EXPECT_EQ(copied.read(), std::vector<double>{7.0});
}

// As a GPU's: begun by autograd's thread, finished by the main one.
class AloneWork final : public Begun::Work {
 public:
  explicit AloneWork(int& waits) : waits_(waits) {}
  bool needs_looks() const override { return false; }
  bool advance() override {
    ADD_FAILURE() << "looked at";
    return true;
  }
  void wait() override { ++waits_; }

 private:
  int& waits_;
};

TEST(Begun, ThatNeedsNoLooks_IsFinishedByAnyThread) {
  int waits = 0;
  double seconds = 0;
  Begun begun;
  std::thread([&] {
    begun = Begun(std::make_unique<AloneWork>(waits), CollectiveCall("all_gather", "", 0, 1, 0), seconds);
    advance_begun();
  }).join();
  begun.finish();
  begun.finish();
  EXPECT_EQ(waits, 1);
}

}  // namespace
}  // namespace spt
