#include "data/printable.h"

#include <gtest/gtest.h>

namespace spt {
namespace {

TEST(Printable, LeavesTextAsItIs) {
  EXPECT_EQ(printable("Grüße,\n\t日本 🙂 ~"), "Grüße,\n\t日本 🙂 ~");
}

TEST(Printable, ShowsControlCharactersInsteadOfSendingThem) {
  EXPECT_EQ(printable("\x1b[2J\x1b]0;title\x07"), "\\x1b[2J\\x1b]0;title\\x07");
  EXPECT_EQ(printable("a\rb\x08\x7f"), "a\\x0db\\x08\\x7f");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Printable, ShowsTheControlCharactersThatTakeTwoBytes) {
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\u009b31m");
  EXPECT_EQ(printable("\xC2\xA0"), "\xC2\xA0");  // the first that is none
}

TEST(Printable, ShowsMarksThatTurnTheDirectionOfWriting) {
  EXPECT_EQ(printable("a\u202Eb\u2066c\u2069"), "a\\u202eb\\u2066c\\u2069");
  EXPECT_EQ(printable("\u2014\u2026"), "\u2014\u2026");
}

TEST(Printable, ReplacesBytesThatAreNoText) {
  EXPECT_EQ(printable("a\xFF\xC3"), "a\uFFFD\uFFFD");
}

}  // namespace
}  // namespace spt
