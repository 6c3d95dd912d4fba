#include "trainer/eval/extract.h"

#include <gmock/gmock.h>

#include "tests/trainer/messages.h"

namespace spt {
namespace {

// Value and rule, or "nothing".
std::string found(const char* kind, const std::string& text, int64_t options = 5) {
  const auto extracted = Extractor(kind).find(text, options);
  return extracted ? extracted->value + " by " + extracted->rule : "nothing";
}

TEST(Extract, Letter_IsTheFirstThatStandsAloneOrInParentheses) {
  EXPECT_EQ(found("letter", " (C) a department store."), "C by letter in parentheses");
  EXPECT_EQ(found("letter", " B."), "B by letter alone");
  EXPECT_EQ(found("letter", "B"), "B by letter alone");
  EXPECT_EQ(found("letter", "Because it Contains Desks, (D)."), "D by letter in parentheses");
  EXPECT_EQ(found("letter", "It is A: or (B)"), "A by letter alone");
  EXPECT_EQ(found("letter", "B's and C3, É"), "nothing");
  EXPECT_EQ(found("letter", "AÉB ÉA BÉ"), "nothing");
  EXPECT_EQ(found("letter", "a, b or c"), "nothing");
}

TEST(Extract, Letter_KnowsHowManyOptionsThereAre) {
  EXPECT_EQ(found("letter", "E or D", 4), "D by letter alone");
  EXPECT_EQ(found("letter", "I think (C)", 8), "C by letter in parentheses");
  EXPECT_EQ(found("letter", "[Z", 26), "Z by letter alone");
}

TEST(Extract, Number_DropsCommasAndTrailingZeros) {
  EXPECT_EQ(found("number", " $1,200.50 a day"), "1200.5 by number");
  EXPECT_EQ(found("number", "18.00"), "18 by number");
  EXPECT_EQ(found("number", "it fell by -3.10 degrees, then 5"), "-3.1 by number");
  EXPECT_EQ(found("number", "10."), "10 by number");
  EXPECT_EQ(found("number", "100"), "100 by number");
  EXPECT_EQ(found("number", "none at all"), "nothing");
}

TEST(Extract, YesNo_IsTheFirstOfTheTwoWords) {
  EXPECT_EQ(found("yes_no", " YES, surely not no."), "yes by word");
  EXPECT_EQ(found("yes_no", "Nobody knows. No!"), "no by word");
  EXPECT_EQ(found("yes_no", "yesterday, nor noon"), "nothing");
}

TEST(Extract, Pattern_IsItsFirstGroupWithoutBlanksAround) {
  EXPECT_EQ(found("Answer: ([^.]*)\\.", "x. Answer:  blue sky . y."), "blue sky by pattern");
  EXPECT_EQ(found("[a-z]+", "12 ab"), "ab by pattern");
  EXPECT_EQ(found("q+", "none"), "nothing");
  EXPECT_THAT(bad_input_of([] { Extractor("(a"); }), testing::HasSubstr("regular expression '(a'"));
}

}  // namespace
}  // namespace spt
