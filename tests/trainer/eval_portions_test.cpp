#include "trainer/eval_portions.h"

#include <gtest/gtest.h>

namespace spt {
namespace {

std::vector<PassItem> items_of(size_t count, int64_t tokens) {
  std::vector<PassItem> items;
  for (size_t i = 0; i < count; ++i) items.push_back({i, tokens, i == 0});
  return items;
}

TEST(DealPasses, OneRankTakesFullPasses) {
  const std::vector<Portion> portions = deal_passes(items_of(10, 100), 400, 1);
  ASSERT_EQ(portions.size(), 3);
  EXPECT_EQ(portions[0].items, (std::vector<size_t>{0, 1, 2, 3}));
  EXPECT_EQ(portions[2].items, (std::vector<size_t>{8, 9}));
}

TEST(DealPasses, ForSeveralRanksTheLastAreShort) {
  const std::vector<Portion> portions = deal_passes(items_of(400, 50), 2048, 2);
  size_t next = 0;
  for (size_t i = 0; i < portions.size(); ++i) {
    EXPECT_TRUE(portions[i].is_pass);
    EXPECT_LE(portions[i].items.size(), 2048 / 50);
    EXPECT_LE(portions[i].items.size(), portions[i == 0 ? 0 : i - 1].items.size());
    for (const size_t item : portions[i].items) EXPECT_EQ(item, next++);
  }
  EXPECT_EQ(next, 400);
  EXPECT_EQ(portions.front().items.size(), 2048 / 50);
  EXPECT_LE(portions.back().items.size(), 256 / 50);
}

TEST(DealPasses, ItemsBehindOtherExamplesAndItemsLongerThanAPassBeginOne) {
  std::vector<PassItem> items = items_of(4, 10);
  items[2].is_first = true;
  items[3].tokens = 5000;
  const std::vector<Portion> portions = deal_passes(items, 2048, 3);
  ASSERT_EQ(portions.size(), 3);
  EXPECT_EQ(portions[0].items, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(portions[1].items, (std::vector<size_t>{2}));
  EXPECT_EQ(portions[2].items, (std::vector<size_t>{3}));
}

}  // namespace
}  // namespace spt
