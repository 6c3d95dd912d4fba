#include "data/config_file.h"

#include <filesystem>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const BadInput& error) {
    return error.what();
  }
  return "(no error)";
}
std::string parse_error(const std::string& yaml) {
  return error_of([&] { parse_config_values(yaml, "x.yaml"); });
}

class ConfigFile : public testing::Test {
 protected:
  fs::path file(const std::string& text) const { return folder_.put("c.yaml", text); }
  std::string override_error(const std::string& text) const {
    const fs::path path = file("a: {b: 1}\n");
    return error_of([&] { load_config_values(path, {text}); });
  }
  TemporaryFolder folder_;
};

TEST_F(ConfigFile, Parse_GivesDottedKeysWithTheirLines) {
  const ConfigValues values = parse_config_values("# c\nrun:\n  dir: runs/x\n\nmesh: {tp: 2}\nseed: 7\n", "x.yaml");
  ASSERT_EQ(values.size(), 3u);
  EXPECT_THAT(values.at("run.dir").items, ElementsAre("runs/x"));
  EXPECT_EQ(values.at("run.dir").where, "x.yaml:3");
  EXPECT_EQ(values.at("mesh.tp").where, "x.yaml:5");
  EXPECT_EQ(values.at("seed").where, "x.yaml:6");
  EXPECT_FALSE(values.at("seed").is_list);
  EXPECT_EQ(values.at("run.dir").place, 0u);
  EXPECT_EQ(values.at("seed").place, 2u);
}

TEST_F(ConfigFile, Parse_ReadsListsOfScalars) {
  const ConfigValues values = parse_config_values("a: [0.9, 0.95]\nb:\n- x\n- \"y, z\"\nc: []\n", "x");
  EXPECT_THAT(values.at("a").items, ElementsAre("0.9", "0.95"));
  EXPECT_TRUE(values.at("a").is_list);
  EXPECT_THAT(values.at("b").items, ElementsAre("x", "y, z"));
  EXPECT_THAT(values.at("c").items, IsEmpty());
  EXPECT_TRUE(values.at("c").is_list);
}

TEST_F(ConfigFile, Parse_TellsNullFromQuotedText) {
  const ConfigValues values =
      parse_config_values("a:\nb: null\nc: ~\nd: \"null\"\ne: '~'\nf: \"\"\ng: !!str null\nh: |\n  null\n", "x");
  for (const char* key : {"a", "b", "c"}) EXPECT_THAT(values.at(key).items, IsEmpty()) << key;
  EXPECT_THAT(values.at("d").items, ElementsAre("null"));
  EXPECT_THAT(values.at("e").items, ElementsAre("~"));
  EXPECT_THAT(values.at("f").items, ElementsAre(""));
  EXPECT_THAT(values.at("g").items, ElementsAre("null"));
  EXPECT_THAT(values.at("h").items, ElementsAre("null\n"));
  EXPECT_EQ(values.at("a").where, "x:1");
}

TEST_F(ConfigFile, Parse_FollowsAnchors) {
  const ConfigValues values = parse_config_values("a: &lr 1e-5\nb:\n  c: *lr\nd: &s {e: 1}\nf: *s\n", "x");
  EXPECT_THAT(values.at("b.c").items, ElementsAre("1e-5"));
  EXPECT_EQ(values.at("b.c").where, "x:3");
  EXPECT_THAT(values.at("f.e").items, ElementsAre("1"));
}

TEST_F(ConfigFile, Parse_OfAnEmptyFileGivesNoValues) {
  EXPECT_TRUE(parse_config_values("", "x").empty());
  EXPECT_TRUE(parse_config_values("# only a comment\n", "x").empty());
  EXPECT_TRUE(parse_config_values("---\n", "x").empty());
}

TEST_F(ConfigFile, Parse_RefusesAKeyGivenTwice) {
  EXPECT_THAT(parse_error("a: 1\nb: 2\na: 3\n"), AllOf(HasSubstr("x.yaml:3: "), HasSubstr("a is given twice")));
  EXPECT_THAT(parse_error("m:\n  p: 1\n  q: 2\n  p: 1\n"),
              AllOf(HasSubstr("x.yaml:4: "), HasSubstr("m.p is given twice")));
  EXPECT_THAT(parse_error("m: {p: 1}\nn: 1\nm: {q: 1}\n"), HasSubstr("x.yaml:3: m is given twice"));
  EXPECT_THAT(parse_error("m: {p: 1}\nm.p: 1\n"), HasSubstr("x.yaml:2: m.p is given twice"));
}

TEST_F(ConfigFile, Parse_RefusesNestedLists) {
  EXPECT_THAT(parse_error("k: 1\na:\n- 1\n- [2]\n"), AllOf(HasSubstr("x.yaml:4: "), HasSubstr("item 2 is a list")));
  EXPECT_THAT(parse_error("a:\n- b: 1\n"), AllOf(HasSubstr("x.yaml:2: "), HasSubstr("item 1 is a section")));
  EXPECT_THAT(parse_error("a: [1, null]\n"), AllOf(HasSubstr("x.yaml:1: "), HasSubstr("item 2 is empty")));
}

TEST_F(ConfigFile, Parse_RefusesWhatIsNoMapOfKeys) {
  EXPECT_THAT(parse_error("- a\n- b\n"), HasSubstr("x.yaml:1: expected 'key: value' lines"));
  EXPECT_THAT(parse_error("just text\n"), HasSubstr("expected 'key: value' lines"));
  EXPECT_THAT(parse_error("a: 1\n[1, 2]: 3\n"), HasSubstr("x.yaml:2: "));
  EXPECT_THAT(parse_error("a: 1\n\"\": 3\n"), HasSubstr("x.yaml:2: "));
  EXPECT_THAT(parse_error("a: 1\n---\nb: 2\n"), AllOf(HasSubstr("x.yaml:2: "), HasSubstr("more follows the end")));
  // yaml-cpp's LoadAll does not end on this one.
  EXPECT_THAT(parse_error("- a\n, - - b\n"), AllOf(HasSubstr("x.yaml:2: "), HasSubstr("more follows the end")));
  EXPECT_THAT(parse_error("[a]]\n"), HasSubstr("x.yaml:1: "));
  EXPECT_THAT(parse_error("a: 1\nb: !include other.yaml\n"), AllOf(HasSubstr("x.yaml:2: "), HasSubstr("'!include'")));
}

TEST_F(ConfigFile, Parse_NamesTheLineOfBrokenYaml) {
  EXPECT_THAT(parse_error("a: 1\nb: [1, 2\nc: 3\n"), AllOf(HasSubstr("x.yaml:"), HasSubstr("not valid YAML")));
  EXPECT_THAT(parse_error("a: 1\nb: @x\n"), HasSubstr("x.yaml:2: not valid YAML"));
  EXPECT_THAT(parse_error("a: 1\nb: *nowhere\n"), HasSubstr("x.yaml:2: not valid YAML"));
  EXPECT_THAT(parse_error("a: 1\nb: \xff\n"), HasSubstr("x.yaml:2: not UTF-8"));
}

TEST_F(ConfigFile, Parse_EndsOnEndlessNesting) {
  EXPECT_THAT(parse_error("a: &x\n  b: *x\n"), HasSubstr("x.yaml:2: "));
  EXPECT_THAT(parse_error(std::string(100000, '[')), HasSubstr("x.yaml"));
  std::string laughs = "l0: &l0 {a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7, h: 8, i: 9, j: 10}\n";
  for (int i = 1; i < 9; ++i) {
    laughs += "l" + std::to_string(i) + ": &l" + std::to_string(i) + " {";
    for (char key = 'a'; key < 'k'; ++key) laughs += std::string(1, key) + ": *l" + std::to_string(i - 1) + ", ";
    laughs += "}\n";
  }
  EXPECT_THAT(parse_error(laughs), HasSubstr("more than 100000 values"));
}

TEST_F(ConfigFile, Load_RefusesAFileThatIsNoText) {
  EXPECT_THAT(error_of([&] { load_config_values(folder_ / "none.yaml", {}); }),
              AllOf(HasSubstr("none.yaml"), HasSubstr("No such file")));
  EXPECT_THAT(error_of([&] { load_config_values(folder_.path(), {}); }), HasSubstr("is a folder"));
  fs::resize_file(file("a: 1\n"), 1 << 30);
  EXPECT_THAT(error_of([&] { load_config_values(folder_ / "c.yaml", {}); }), HasSubstr("larger than"));
}

TEST_F(ConfigFile, Overrides_ReplaceTheFileAndEachOtherInOrder) {
  const ConfigValues values =
      load_config_values(file("a: {b: 1, c: 2}\n"), {"a.b=3", "a.b=[4, 5]", "d= 'x = y'", "a.c=null", "e=\"null\""});
  EXPECT_THAT(values.at("a.b").items, ElementsAre("4", "5"));
  EXPECT_TRUE(values.at("a.b").is_list);
  EXPECT_EQ(values.at("a.b").where, "command line");
  EXPECT_THAT(values.at("d").items, ElementsAre("x = y"));
  EXPECT_THAT(values.at("a.c").items, IsEmpty());
  EXPECT_THAT(values.at("e").items, ElementsAre("null"));
}

TEST_F(ConfigFile, Overrides_WithoutAReadableValueAreRefused) {
  EXPECT_THAT(override_error("a.b="), AllOf(HasSubstr("'a.b='"), HasSubstr("a.b=null"), HasSubstr("a.b='\"\"'")));
  EXPECT_THAT(override_error("a.b=# x"), HasSubstr("a.b=null"));
  EXPECT_THAT(override_error("a.b"), HasSubstr("expected key=value"));
  EXPECT_THAT(override_error("=3"), HasSubstr("expected key=value"));
  EXPECT_THAT(override_error("a.b={c: 1}"), HasSubstr("is a section"));
  EXPECT_THAT(override_error("a.b=[[1]]"), AllOf(HasSubstr("'a.b=[[1]]'"), HasSubstr("item 1 is a list")));
  EXPECT_THAT(override_error("a.b=[1"), HasSubstr("not valid YAML"));
  EXPECT_THAT(override_error("a.b=\xc3("), HasSubstr("not UTF-8"));
}

TEST_F(ConfigFile, Overrides_ThatYamlWouldCutAreRefused) {
  EXPECT_THAT(override_error("a.b=/data/x #2/run"), AllOf(HasSubstr("read as '/data/x'"), HasSubstr("quoted so")));
  EXPECT_EQ(parse_overrides({"a.b='/data/x #2/run'"}).at("a.b").items, std::vector<std::string>{"/data/x #2/run"});
  EXPECT_EQ(parse_overrides({"a.b= /data/x#2 "}).at("a.b").items, std::vector<std::string>{"/data/x#2"});
}

enum class Color { kRed, kNone };
std::vector<std::pair<std::string, Color>> enum_names(Color) {
  return {{"red", Color::kRed}, {"none", Color::kNone}};
}

struct Inner {
  double lr = 0.5;
  std::vector<double> betas{0.9, 0.95};
  template <class F>
  void fields(F& f) {
    f("lr", lr, "");
    f("betas", betas, "");
  }
  bool operator==(const Inner&) const = default;
};
struct Everything {
  bool flag = false;
  int64_t big = 0;
  uint64_t seed = 0;
  int small = 0;
  double tiny = 0;
  std::string text, empty;
  fs::path path;
  Color color = Color::kRed;
  std::optional<double> absent, present;
  std::optional<std::string> absent_text, word;
  std::vector<std::string> texts, none{"default"};
  std::vector<int64_t> numbers;
  std::vector<Color> colors;
  Inner inner;
  template <class F>
  void fields(F& f) {
    f("flag", flag, "");
    f("big", big, "");
    f("seed", seed, "");
    f("small", small, "");
    f("tiny", tiny, "");
    f("text", text, "");
    f("empty", empty, "");
    f("path", path, "");
    f("color", color, "");
    f("absent", absent, "");
    f("present", present, "");
    f("absent_text", absent_text, "");
    f("word", word, "");
    f("texts", texts, "");
    f("none", none, "");
    f("numbers", numbers, "");
    f("colors", colors, "");
    f("inner", inner, "");
  }
  bool operator==(const Everything&) const = default;
};

TEST_F(ConfigFile, DumpedFieldsReadBackToTheSameValues) {
  Everything written;
  written.flag = true;
  written.big = INT64_MIN;
  written.seed = UINT64_MAX;
  written.small = -3;
  written.tiny = 1e-5;
  std::string controls;
  for (char c = 1; c < 0x20; ++c) controls += c;
  written.text = "\"quoted\" 'single' \\ back\n line, # no comment: é 日本 \U0001F600 \u0085\u2028\u00a0\x7f" +
                 controls + '\0' + " ";
  written.path = "/tmp/a b: c/#x";
  written.color = Color::kNone;
  written.present = 0.1;
  written.word = "null";
  written.texts = {"a, b", "", "~", "[x]", "- y", "true", "1e-5"};
  written.none = {};
  written.numbers = {1, -2, 3};
  written.colors = {Color::kNone, Color::kRed};
  written.inner = {1.0 / 3, {0.1, 1e300, -0.0, 5e-324}};
  const std::string yaml = dump_fields(written);
  EXPECT_EQ(read_fields<Everything>(parse_config_values(yaml, "x")), written) << yaml;
  EXPECT_EQ(dump_fields(read_fields<Everything>(parse_config_values(yaml, "x"))), yaml);
}

TEST_F(ConfigFile, Override_TakesItsPlaceInTheOrderToo) {
  const ConfigValues values = load_config_values(file("b: 1\na: 2\n"), {"new=3", "b=4"});
  EXPECT_EQ(values.at("b").place, 0u);
  EXPECT_EQ(values.at("a").place, 1u);
  EXPECT_EQ(values.at("new").place, 2u);
}

}  // namespace
}  // namespace spt
