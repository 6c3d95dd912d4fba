#include "data/ordered_work.h"

#include <latch>
#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spt {
namespace {

using ::testing::ElementsAre;

TEST(OrderedWork, Results_ComeInTheOrderOfTheJobs) {
  std::vector<int> squares;
  OrderedWork<int, int> work(3, [](int& job) { return job * job; });
  for (int job = 0; job < 1000; ++job) {
    if (work.full()) squares.push_back(work.pop());
    work.push(job);
  }
  while (!work.empty()) squares.push_back(work.pop());
  ASSERT_EQ(squares.size(), 1000u);
  for (int job = 0; job < 1000; ++job) ASSERT_EQ(squares[static_cast<size_t>(job)], job * job);
}

TEST(OrderedWork, Jobs_RunAtOnce) {
  std::latch together(2);
  OrderedWork<int, int> work(2, [&](int& job) {
    together.arrive_and_wait();  // hangs unless two are here
    return job;
  });
  work.push(1);
  work.push(2);
  EXPECT_EQ(work.pop(), 1);
  EXPECT_EQ(work.pop(), 2);
}

TEST(OrderedWork, TheFirstOfSeveralErrorsIsThrown) {
  OrderedWork<int, int> work(2, [](int& job) -> int {
    if (job > 0) throw std::runtime_error("job " + std::to_string(job));
    return job;
  });
  for (int job = 0; job < 4; ++job) work.push(job);
  EXPECT_EQ(work.pop(), 0);
  try {
    work.pop();
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "job 1");
  }
}

TEST(OrderedWork, Full_LimitsWhatIsInFlight) {
  OrderedWork<int, int> work(1, [](int& job) { return job; });
  int pushed = 0;
  while (!work.full()) work.push(pushed++);
  EXPECT_LT(pushed, 20);
}

}  // namespace
}  // namespace spt
