#include "data/pace.h"

#include <gtest/gtest.h>

namespace spt {
namespace {

using std::chrono::seconds;

TEST(Pace, StartsAreSpacedEvenly) {
  const Pace::Clock::time_point now = Pace::Clock::now();
  Pace pace(30);
  EXPECT_LE(pace.ready(), now);
  pace.started(1, now);
  EXPECT_EQ(pace.ready(), now + seconds(2));
  pace.started(1, now + seconds(7));
  EXPECT_EQ(pace.ready(), now + seconds(9));
}

TEST(Pace, ALargerAmountHoldsBackLongerAndACorrectionGivesBack) {
  const Pace::Clock::time_point now = Pace::Clock::now();
  Pace pace(600);
  pace.started(100, now);
  EXPECT_EQ(pace.ready(), now + seconds(10));
  pace.add(-50);
  EXPECT_EQ(pace.ready(), now + seconds(5));
}

TEST(Pace, WithoutALimitNothingIsHeldBack) {
  const Pace::Clock::time_point now = Pace::Clock::now();
  Pace pace(0);
  pace.started(1e9, now);
  EXPECT_EQ(pace.ready(), now);
}

}  // namespace
}  // namespace spt
