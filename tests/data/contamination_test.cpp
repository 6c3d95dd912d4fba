#include "data/contamination.h"

#include <gtest/gtest.h>

namespace spt {
namespace {

constexpr const char* kQuestion = "A robe takes two bolts of blue fiber and half that much white fiber.";

TEST(Contamination, FindsSharedWordsWhateverTheirCaseAndPunctuation) {
  ContaminationIndex index(5);
  ASSERT_TRUE(index.add("gsm8k", "2", kQuestion));
  const auto found = index.find("r1", {"See: a ROBE takes -- two \"bolts\"; of blue yarn."});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].record, "r1");
  EXPECT_EQ(found[0].task, "gsm8k");
  EXPECT_EQ(found[0].item, "2");
  EXPECT_EQ(found[0].shared, 3);  // "a robe takes two bolts", "robe … of", "takes … blue"
  EXPECT_EQ(found[0].runs, 10);
  EXPECT_EQ(found[0].words, "a robe takes two bolts");
}

TEST(Contamination, FindsNothingInFewerWordsOrAcrossTexts) {
  ContaminationIndex index(5);
  index.add("gsm8k", "2", kQuestion);
  EXPECT_TRUE(index.find("r", {"a robe takes two"}).empty());
  EXPECT_TRUE(index.find("r", {"a robe takes", "two bolts of blue"}).empty());
  EXPECT_FALSE(index.find("r", {"a robe takes two bolts"}).empty());
}

TEST(Contamination, CountsAWholeQuestionOnceHoweverOftenItStandsThere) {
  ContaminationIndex index(5);
  index.add("gsm8k", "2", kQuestion);
  const std::string twice = std::string(kQuestion) + " " + kQuestion;
  const auto found = index.find("r", {twice, kQuestion});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].shared, found[0].runs);
}

TEST(Contamination, CountsARunOnceThatAQuestionRepeats) {
  ContaminationIndex index(2);
  index.add("a", "1", "one two one two one");
  const auto found = index.find("r", {"two one two"});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].runs, 2);
  EXPECT_EQ(found[0].shared, 2);
}

TEST(Contamination, TellsEveryQuestionThatSharesTheWords) {
  ContaminationIndex index(3);
  index.add("a", "1", "one two three four");
  index.add("b", "1", "zero one two three");
  const auto found = index.find("r", {"one two three"});
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].task, "a");
  EXPECT_EQ(found[1].task, "b");
}

TEST(Contamination, SaysThatAQuestionIsTooShort) {
  ContaminationIndex index(13);
  EXPECT_FALSE(index.add("openbookqa", "880", "Predators eat"));
  EXPECT_TRUE(index.find("r", {"Predators eat"}).empty());
}

}  // namespace
}  // namespace spt
