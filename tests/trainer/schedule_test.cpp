#include "trainer/optim/schedule.h"

#include <gtest/gtest.h>

namespace spt {
namespace {

TEST(LearningRate, WithoutWarmUp_FallsLinearlyFromLrTowardsFinalLr) {
  ScheduleConfig config;
  config.final_lr = 1e-6;
  EXPECT_DOUBLE_EQ(learning_rate(config, 1e-5, 0, 10), 1e-5);
  EXPECT_DOUBLE_EQ(learning_rate(config, 1e-5, 5, 10), 5.5e-6);
  EXPECT_DOUBLE_EQ(learning_rate(config, 1e-5, 9, 10), 1.9e-6);
}

TEST(LearningRate, WithWarmUp_RisesToLrThenFalls) {
  ScheduleConfig config;
  config.warmup_steps = 4;
  config.final_lr = 0;
  const double expected[] = {0.25,          0.5,           0.75, 1.0,           1.0,
                             1.0 - 1.0 / 6, 1.0 - 2.0 / 6, 0.5,  1.0 - 4.0 / 6, 1.0 - 5.0 / 6};
  for (int64_t step = 0; step < 10; ++step)
    EXPECT_DOUBLE_EQ(learning_rate(config, 1.0, step, 10), expected[step]) << step;
}

TEST(LearningRate, OneStep_IsLr) {
  EXPECT_DOUBLE_EQ(learning_rate({}, 1e-5, 0, 1), 1e-5);
}

}  // namespace
}  // namespace spt
