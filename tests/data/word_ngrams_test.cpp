#include "data/word_ngrams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spt {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Words, Text_IsLowerCaseWithoutPunctuation) {
  EXPECT_THAT(words_of("  Don't panic: it's 3.5 \"KM\"!\n"),
              ElementsAre("don", "t", "panic", "it", "s", "3", "5", "km"));
  EXPECT_THAT(words_of("?!…"), IsEmpty());
  EXPECT_THAT(words_of(""), IsEmpty());
}

TEST(Words, Text_BeyondAsciiStaysAsItIsButForDashesAndQuotes) {
  EXPECT_THAT(words_of("Übung—“naïve” 谢谢"), ElementsAre("Übung", "naïve", "谢谢"));
  EXPECT_THAT(words_of("a\xE2\x80"), ElementsAre("a\xE2\x80"));  // cut in the middle of a character
}

TEST(Ngrams, Hashes_AreOfEachRunOfWords) {
  const auto words = words_of("a b c a b");
  const auto hashes = ngram_hashes(words, 2);
  ASSERT_EQ(hashes.size(), 4u);
  EXPECT_EQ(hashes[0], hashes[3]);
  EXPECT_NE(hashes[0], hashes[1]);
  EXPECT_EQ(hashes[1], ngram_hashes(words_of("B,  c"), 2)[0]);
  EXPECT_NE(ngram_hashes(words_of("b c"), 2), ngram_hashes(words_of("c b"), 2));
  EXPECT_NE(ngram_hashes(words_of("ab c"), 2), ngram_hashes(words_of("a bc"), 2));
}

TEST(Ngrams, Hashes_OfFewerWordsThanARunAreNone) {
  EXPECT_THAT(ngram_hashes(words_of("a b"), 3), IsEmpty());
  EXPECT_EQ(ngram_hashes(words_of("a b c"), 3).size(), 1u);
}

}  // namespace
}  // namespace spt
