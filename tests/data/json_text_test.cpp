#include "data/json_text.h"

#include <limits>

#include <gmock/gmock.h>

#include "base/error.h"

namespace spt {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ScriptJson, NothingInATextEndsItsElement) {
  const nlohmann::json value = {{"</script><!--", "<script>&amp;]]>\xE2\x80\xA8\xE2\x80\xA9"},
                                {"x", {1, 2.5, nullptr}}};
  const std::string text = script_json(value);
  for (const char* sign : {"<", ">", "&", "\xE2\x80\xA8", "\xE2\x80\xA9"}) EXPECT_THAT(text, Not(HasSubstr(sign)));
  EXPECT_EQ(nlohmann::json::parse(text), value);
}

TEST(ScriptJson, IsAsciiAndValidWhateverTheBytes) {
  const std::string text =
      script_json(nlohmann::json{{"bytes", std::string("a\0\x1B[31m\xFF\xC3\xF0\x9F\x9A\x80", 13)}});
  for (const char c : text) EXPECT_TRUE(c >= 0x20 && c < 0x7F) << static_cast<int>(c);
  EXPECT_EQ(nlohmann::json::parse(text)["bytes"],
            std::string("a\0\x1B[31m\xEF\xBF\xBD\xEF\xBF\xBD\xF0\x9F\x9A\x80", 17));
}

TEST(ScriptJson, NumbersThatAreNotFiniteAreNull) {
  EXPECT_EQ(script_json(nlohmann::json{std::numeric_limits<double>::quiet_NaN(),
                                       -std::numeric_limits<double>::infinity(), 0.1}),
            "[null,null,0.1]");
}

TEST(ParseJsonObject, RefusesWhatCouldHarmOrIsAmbiguous) {
  const auto message = [](const std::string& text) {
    try {
      parse_json_object(text, "f:1");
    } catch (const BadInput& error) {
      return std::string(error.what());
    }
    return std::string("nothing was thrown");
  };
  EXPECT_EQ(message(R"({"a": 1})"), "nothing was thrown");
  EXPECT_THAT(message("[]"), HasSubstr("f:1: is an array"));
  EXPECT_THAT(message("{"), HasSubstr("f:1: broken JSON"));
  EXPECT_THAT(message(R"({"a": 1, "a": 2})"), HasSubstr("\"a\" twice"));
  EXPECT_THAT(message("{\"a\": " + std::string(100'000, '[')), HasSubstr("nested more than 32 deep"));
}

}  // namespace
}  // namespace spt
