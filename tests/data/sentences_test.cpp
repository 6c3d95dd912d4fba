#include "data/sentences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spt {
namespace {

using ::testing::ElementsAre;

TEST(Sentences, EndAtWhiteSpaceAfterAStopOrAtALineEnd) {
  EXPECT_THAT(sentences_of("One. Two!  Is 3.5 three?\nfour"),
              ElementsAre("One. ", "Two!  ", "Is 3.5 three?\n", "four"));
  EXPECT_THAT(sentences_of("no stop\nhere"), ElementsAre("no stop\n", "here"));
}

TEST(Sentences, KeepQuotesAndBracketsBehindTheirStop) {
  EXPECT_THAT(sentences_of("He said \"go.\" She (too.) left."),
              ElementsAre("He said \"go.\" ", "She (too.) ", "left."));
}

TEST(Sentences, OfNothingAreNone) {
  EXPECT_THAT(sentences_of(""), ElementsAre());
  EXPECT_THAT(sentences_of("One. "), ElementsAre("One. "));
}

}  // namespace
}  // namespace spt
