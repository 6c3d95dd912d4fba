#include "data/read_ahead.h"

#include <semaphore>
#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spt {
namespace {

using ::testing::ElementsAre;

TEST(ReadAhead, Take_GivesWhatIsReadInOrderAndReadsEachOnce) {
  std::vector<int64_t> read;  // by one thread at a time
  std::vector<int64_t> taken;
  {
    ReadAhead<int64_t> ahead(
        [&](int64_t i) {
          read.push_back(i);
          return 10 * i;
        },
        6);
    for (int64_t i = 3; i < 6; ++i) taken.push_back(ahead.take(i));
  }
  EXPECT_THAT(taken, ElementsAre(30, 40, 50));
  EXPECT_THAT(read, ElementsAre(3, 4, 5));
}

TEST(ReadAhead, TheNextIsReadWhileThisOneIsUsed) {
  std::counting_semaphore<4> read(0);
  ReadAhead<int64_t> ahead(
      [&](int64_t i) {
        read.release();
        return i;
      },
      2);
  ahead.take(0);
  read.acquire();  // of 0
  read.acquire();  // of 1, which nobody has asked for: the test hangs without it
}

TEST(ReadAhead, Take_OfAnotherNumberReadsThat) {
  ReadAhead<int64_t> ahead([](int64_t i) { return i; }, 100);
  EXPECT_EQ(ahead.take(5), 5);
  EXPECT_EQ(ahead.take(50), 50);
  EXPECT_EQ(ahead.take(99), 99);
}

TEST(ReadAhead, AnErrorOfReadingIsThrownToTheOneWhoTakes) {
  ReadAhead<int64_t> ahead([](int64_t i) { return i < 1 ? i : throw std::runtime_error("no such row"); }, 3);
  EXPECT_EQ(ahead.take(0), 0);
  EXPECT_THROW(ahead.take(1), std::runtime_error);
}

}  // namespace
}  // namespace spt
