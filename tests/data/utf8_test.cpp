#include "data/utf8.h"

#include <string>

#include <gtest/gtest.h>

namespace spt {
namespace {

TEST(Utf8Test, IsUtf8_FollowsRfc3629) {
  for (const std::string good :
       {"", "a", "\x7F", "\u0080", "\u07FF", "\u0800", "\uD7FF", "\uE000", "\uFFFF", "\U00010000", "\U0010FFFF"})
    EXPECT_TRUE(is_utf8(good)) << good;
  EXPECT_TRUE(is_utf8(std::string(3, '\0')));
  for (const std::string bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x9F\xBF", "\xE4\xB8", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xC3(", "\xE4\xB8\xE4"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

TEST(Utf8Test, Encode_AndLengthAgree) {
  for (const char32_t point : {U'\0', U'a', U'\u00E9', U'\u4E2D', U'\U0001F642', U'\U0010FFFF'}) {
    const std::string bytes = utf8_encode(point);
    EXPECT_TRUE(is_utf8(bytes));
    EXPECT_EQ(utf8_length(bytes + "x"), bytes.size());
  }
  EXPECT_EQ(utf8_encode(U'\u4E2D'), "\u4E2D");
  EXPECT_EQ(utf8_encode(U'\U0001F642'), "\U0001F642");
  EXPECT_EQ(utf8_length(""), 0u);
  EXPECT_EQ(utf8_length("\xE4\xB8"), 0u);
}

TEST(Utf8Test, ReplaceInvalid_GivesOneMarkForEachTornBeginning) {
  EXPECT_EQ(utf8_replace_invalid("a\xE4\xB8z\xFF\xFF\xC3\xA9"), "a\uFFFDz\uFFFD\uFFFD\u00E9");
  EXPECT_EQ(utf8_replace_invalid("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(utf8_replace_invalid("\xF0\x9F\x99"), "\uFFFD");
}

}  // namespace
}  // namespace spt
