#include "trainer/eval/task_items.h"

#include <map>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/temporary_folder.h"
#include "tests/trainer/messages.h"

namespace spt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Items : public testing::Test {
 protected:
  std::vector<TaskItem> read(const std::string& task, const std::string& data) {
    folder_.put("d.jsonl", data);
    return read_items(load_task(folder_.put("t.yaml", "name: t\ndata: {path: d.jsonl}\n" + task)), folder_.path());
  }
  std::string refusal(const std::string& task, const std::string& data) {
    return bad_input_of([&] { read(task, data); });
  }
  TemporaryFolder folder_;
};

constexpr const char* kLetters =
    "kind: generate\nprompt: \"{q}\"\nextract: letter\noptions: {from: c, text: t, label: l, list: inline}\ngold: "
    "\"{a}\"\n";

TEST_F(Items, OptionsOfObjects_AreListedAndGoldIsTheirLabel) {
  const auto items = read(kLetters, R"({"q":"Q?","c":[{"t":"x","l":"1"},{"t":"y","l":"2"}],"a":"2"})");
  EXPECT_EQ(items[0].prompt, "Q? Answer Choices: (A) x (B) y");
  EXPECT_THAT(items[0].options, ElementsAre("x", "y"));
  EXPECT_EQ(items[0].gold, "B");
}

TEST_F(Items, Gold_MayBeALetterAnIndexOrAText) {
  const std::string task =
      "kind: choice\nprompt: \"{q}\"\noptions: {from: c, list: lines}\nprompt_end: \"\\nAnswer:\"\ngold: \"{a}\"\n";
  EXPECT_EQ(read(task, R"({"q":"Q?","c":["x","y"],"a":"A"})")[0].gold, "A");
  EXPECT_EQ(read(task, R"({"q":"Q?","c":["x","y"],"a":1})")[0].gold, "B");
  EXPECT_EQ(read(task, R"({"q":"Q?","c":["x","y"],"a":"y"})")[0].gold, "B");
  EXPECT_EQ(read(task, R"({"q":"Q?","c":["x","y"],"a":"y"})")[0].prompt, "Q?\nA. x\nB. y\nAnswer:");
  EXPECT_THAT(refusal(task, R"({"q":"Q?","c":["x","y"],"a":"C"})"),
              HasSubstr("d.jsonl:1: gold is 'C', which is none of the 2 options"));
}

TEST_F(Items, OptionsOfAnObject_ShuffledBySeed_KeepTheirGold) {
  const std::string task = "kind: choice\nprompt: \"{q}\"\noptions: {from: m}\nshuffle_options: 1\n";
  std::string data;
  for (int i = 0; i < 40; ++i)
    data += R"({"q":"Q?","m":{"right":1,"wrong":0,"worse":0}})"
            "\n";
  std::set<std::string> letters;
  for (const TaskItem& item : read(task, data)) {
    EXPECT_EQ(item.options[static_cast<size_t>(item.gold[0] - 'A')], "right");
    letters.insert(item.gold);
  }
  EXPECT_THAT(letters, ElementsAre("A", "B", "C"));
  EXPECT_EQ(read(task, data)[7].options, read(task, data)[7].options);
}

TEST_F(Items, GoldPattern_AndExtractNormaliseTheRightAnswer) {
  const std::string task =
      "kind: generate\nprompt: \"{q}\"\nextract: number\ngold: \"{a}\"\ngold_pattern: '#### (.+)'\n";
  EXPECT_EQ(read(task, R"({"q":"Q?","a":"1 and 2\n#### 1,200.0"})")[0].gold, "1200");
  EXPECT_THAT(refusal(task, R"({"q":"Q?","a":"#### many"})"), HasSubstr("gold is 'many', in which there is no number"));
  EXPECT_THAT(refusal(task, R"({"q":"Q?","a":"5"})"), HasSubstr("gold_pattern '#### (.+)' finds nothing in '5'"));
  const std::string yes = "kind: generate\nprompt: \"{q}\"\nextract: yes_no\ngold: \"{a}\"\n";
  EXPECT_EQ(read(yes, R"({"q":"Q?","a":true})")[0].gold, "yes");
  EXPECT_EQ(read(yes, R"({"q":"Q?","a":false})")[0].gold, "no");
}

TEST_F(Items, BadOptions_AreRefusedWithTheirPlace) {
  EXPECT_THAT(refusal(kLetters, R"({"q":"Q?","c":[{"t":"x","l":"1"}],"a":"1"})"),
              HasSubstr("d.jsonl:1: there are 1 options, expected 2 to 26"));
  std::string many = R"({"q":"Q?","c":[)";
  for (int i = 0; i < 27; ++i) many += fmt::format(R"({}{{"t":"{}","l":"x{}"}})", i > 0 ? "," : "", i, i);
  EXPECT_THAT(refusal(kLetters, many + R"(],"a":"x1"})"), HasSubstr("there are 27 options"));
  EXPECT_THAT(refusal(kLetters, R"({"q":"Q?","c":5,"a":"1"})"), HasSubstr("'c' is no list of options"));
  EXPECT_THAT(refusal(kLetters, R"({"q":"Q?","a":"1"})"), HasSubstr("has no field 'c'"));
}

TEST_F(Items, Task_RefusesWhatItsKindLacks) {
  EXPECT_THAT(refusal("kind: choice\nprompt: q\n", "{}"), HasSubstr("options is missing"));
  EXPECT_THAT(refusal("kind: generate\nprompt: q\n", "{}"), HasSubstr("extract is missing"));
  EXPECT_THAT(refusal("kind: generate\nprompt: q\nextract: letter\n", "{}"), HasSubstr("options is missing"));
  EXPECT_THAT(refusal("kind: generate\nprompt: q\nextract: letter\noptions: {from: c}\n", "{}"),
              HasSubstr("options.list is none"));
  EXPECT_THAT(refusal("kind: generate\nprompt: q\nextract: '(a'\n", "{}"),
              HasSubstr("extract has regular expression '(a'"));
}

TEST_F(Items, Group_IsWhatItsPatternFinds) {
  const std::string task = "kind: open\nprompt: \"{q}\"\ngroup: g\ngroup_pattern: '(.+)_test'\n";
  EXPECT_EQ(read(task, R"({"q":"Q?","g":"law_test"})")[0].group, "law");
  EXPECT_THAT(refusal(task, R"({"q":"Q?","g":"law"})"), HasSubstr("group_pattern '(.+)_test' finds nothing in 'law'"));
}

TEST_F(Items, Shots_AreTheFirstExamplesOfEachGroupWithTheirAnswers) {
  const std::string task =
      "kind: choice\nprompt: \"{q}\"\ngroup: g\noptions: {from: c, list: lines, say: letter}\nprompt_end: "
      "\"\\nAnswer:\"\ngold: \"{a}\"\n";
  folder_.put("shots.jsonl", R"({"q":"1?","g":"x","c":["l","m"],"a":0}
{"q":"2?","g":"y","c":["l","m"],"a":1}
{"q":"3?","g":"x","c":["n","o"],"a":1}
{"q":"4?","g":"y","c":["p","q"],"a":0}
{"q":"5?","g":"x","c":["p","q"],"a":0}
)");
  const auto shots = [&](const std::string& more, int64_t count) {
    return read_shots(load_task(folder_.put("t.yaml", "name: t\ndata: {path: d.jsonl}\n" + task + more)),
                      folder_.path(), count);
  };
  const auto two = shots("shots: {path: shots.jsonl}\n", 2);
  EXPECT_EQ(two.at("x").text, "1?\nA. l\nB. m\nAnswer: A\n\n3?\nA. n\nB. o\nAnswer: B\n\n");
  EXPECT_EQ(two.at("y").prompts.size(), 2U);
  EXPECT_EQ(shots("shots: {path: shots.jsonl, answer: \" = {a}\"}\n", 1).at("y").text,
            "2?\nA. l\nB. m\nAnswer: = 1\n\n");
  EXPECT_THAT(bad_input_of([&] { shots("shots: {path: shots.jsonl}\n", 3); }),
              HasSubstr("eval.shots is 3, but shots.jsonl has 2 examples of the group y"));
  EXPECT_THAT(bad_input_of([&] { shots("", 1); }), HasSubstr("task t names no examples (its key shots.path)"));
}

TEST_F(Items, Sample_GivesEveryGroupItsShareAndHangsOnTheSeedAlone) {
  std::string data;
  for (int i = 0; i < 60; ++i)
    data += fmt::format(R"({{"q":"Q{}?","s":"{}"}})"
                        "\n",
                        i,
                        i < 30   ? "a"
                        : i < 50 ? "b"
                                 : "c");
  const auto items = read("kind: open\nprompt: \"{q}\"\ngroup: s\n", data);
  const auto sample = sample_items(items, 13, 1);
  std::map<std::string, int> counts;
  std::vector<std::string> ids;
  for (const TaskItem& item : sample) {
    ++counts[item.group];
    ids.push_back(item.id);
  }
  EXPECT_EQ(counts["a"] + counts["b"] + counts["c"], 13);
  EXPECT_TRUE((counts["a"] == 6 || counts["a"] == 7) && (counts["b"] == 4 || counts["b"] == 5) && counts["c"] >= 2);
  const auto ids_of = [&](uint64_t seed) {
    std::vector<std::string> found;
    for (const TaskItem& item : sample_items(items, 13, seed)) found.push_back(item.id);
    return found;
  };
  EXPECT_EQ(ids_of(1), ids);
  EXPECT_NE(ids_of(2), ids);
  EXPECT_EQ(sample_items(items, 100, 1).size(), 60U);
}

}  // namespace
}  // namespace spt
