#include "base/progress.h"

#include <gtest/gtest.h>

namespace spt {
namespace {

TEST(ClockTime, HoursAreShownWhenThereAreAny) {
  EXPECT_EQ(clock_time(0.4), "0:00");
  EXPECT_EQ(clock_time(65), "1:05");
  EXPECT_EQ(clock_time(3599.6), "1:00:00");
  EXPECT_EQ(clock_time(36'061), "10:01:01");
}

TEST(ProgressBar, TimeLeftIsUnknownBeforeTheFirstStepAndNothingAfterTheLast) {
  const ProgressBar bar(3, 10);
  EXPECT_EQ(bar.time_left(3), "?");
  EXPECT_EQ(bar.time_left(10), "0:00");
}

TEST(ProgressBar, TimeLeftIsUnknownUntilEnoughIsDoneToTellAPace) {
  const ProgressBar bar(0, 100, 6);
  EXPECT_EQ(bar.time_left(5), "?");
  EXPECT_NE(bar.time_left(6), "?");
}

}  // namespace
}  // namespace spt
