#include "data/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

std::vector<Record> read_all(RecordReader& reader) {
  std::vector<Record> records;
  while (auto record = reader.next()) records.push_back(*record);
  return records;
}

class Records : public ::testing::Test {
 protected:
  std::vector<Record> read(const std::string& text, RecordOptions options = {}) {
    RecordReader reader(folder_.put("in.jsonl", text), options);
    return read_all(reader);
  }
  Record read_one(const std::string& text, RecordOptions options = {}) {
    const auto records = read(text, options);
    EXPECT_EQ(records.size(), 1u);
    return records.at(0);
  }
  // The message of the BadInput that reading throws, without the folder in front of the file's name.
  std::string error(const std::string& text, RecordOptions options = {}) {
    try {
      read(text, options);
    } catch (const BadInput& bad) {
      const std::string message = bad.what();
      const std::string folder = folder_.path().string() + "/";
      EXPECT_THAT(message, HasSubstr(folder));
      return message.substr(message.find(folder) + folder.size());
    }
    return "no error";
  }
  TemporaryFolder folder_;
};

TEST_F(Records, AFieldGivenTwice_IsRefused) {
  EXPECT_EQ(error(R"({"role":"You are A.","conversations":["q","a"],"role":"You are B."})"),
            "in.jsonl:1: the record has the field \"role\" twice");
  EXPECT_EQ(read_one(R"({"conversations":["q","a"],"more":[{"a":1},{"a":{"a":1}}]})").turns.size(), 2u);
}

TEST_F(Records, Read_TakesLimaWithSourceAndRole) {
  const Record record =
      read_one(R"({"conversations": ["q", "a", "q2", "a2"], "source": "wiki", "role": "You are a cook."})");
  EXPECT_THAT(record.turns, ElementsAre("q", "a", "q2", "a2"));
  EXPECT_EQ(record.source, "wiki");
  EXPECT_EQ(record.role, "You are a cook.");
  EXPECT_EQ(record.system, std::nullopt);
  EXPECT_EQ(record.id, "1");
}

TEST_F(Records, Read_TakesMessagesWithSystem) {
  const Record record = read_one(
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})");
  EXPECT_EQ(record.system, "s");
  EXPECT_THAT(record.turns, ElementsAre("q", "a"));
}

TEST_F(Records, Read_TakesShareGpt) {
  const Record record =
      read_one(R"({"id": "x1", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]})");
  EXPECT_THAT(record.turns, ElementsAre("q", "a"));
  EXPECT_EQ(record.id, "x1");
}

TEST_F(Records, Read_TakesAlpacaWithInputAndHistory) {
  const Record record = read_one(
      R"({"instruction": "Sum up.", "input": "Text.", "output": "Sum.", "history": [["q", "a"]], "system": "s"})");
  EXPECT_THAT(record.turns, ElementsAre("q", "a", "Sum up.\n\nText.", "Sum."));
  EXPECT_EQ(record.system, "s");
  EXPECT_THAT(read_one(R"({"instruction": "Say hi.", "input": "", "output": "Hi."})").turns,
              ElementsAre("Say hi.", "Hi."));
}

TEST_F(Records, Read_TellsTheFormatOfEachFileFromItsFirstRecord) {
  RecordReader reader(
      folder_.put("in.jsonl",
                  R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})"),
      {});
  read_all(reader);
  EXPECT_EQ(reader.format(), RecordFormat::kMessages);
  const std::string mixed = "{\"conversations\": [\"q\", \"a\"]}\n{\"instruction\": \"q\", \"output\": \"a\"}\n";
  EXPECT_THAT(error(mixed), HasSubstr("in.jsonl:2: the record has no field \"conversations\""));
}

TEST_F(Records, Read_TakesTheFormatItIsTold) {
  RecordOptions options;
  options.format = RecordFormat::kAlpaca;
  const std::string both = R"({"instruction": "q", "output": "a", "conversations": ["x", "y"]})";
  EXPECT_THAT(read_one(both, options).turns, ElementsAre("q", "a"));
  EXPECT_THAT(read_one(both).turns, ElementsAre("x", "y"));
}

TEST_F(Records, Read_CountsLinesThroughBlankOnesAndCarriageReturns) {
  const auto records = read("\n{\"conversations\": [\"q\", \"a\"]}\r\n\r\n{\"conversations\": [\"q\", \"b\"]}");
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].id, "2");
  EXPECT_EQ(records[1].id, "4");
}

TEST_F(Records, Read_TakesANumberAsId) {
  EXPECT_EQ(read_one(R"({"id": 17, "conversations": ["q", "a"]})").id, "17");
}

TEST_F(Records, Read_DropsAndCountsATrailingUserTurn) {
  RecordReader reader(
      folder_.put("in.jsonl", "{\"conversations\": [\"q\", \"a\", \"q2\"]}\n{\"conversations\": [\"q\", \"a\"]}\n"),
      {});
  const auto records = read_all(reader);
  EXPECT_THAT(records.at(0).turns, ElementsAre("q", "a"));
  EXPECT_EQ(reader.dropped_trailing_turns(), 1);
}

TEST_F(Records, Read_AsPromptsEndsWithTheUser) {
  RecordOptions options;
  options.use = RecordUse::kPrompts;
  EXPECT_THAT(read_one(R"({"conversations": ["q"]})", options).turns, ElementsAre("q"));
  EXPECT_THAT(read_one(R"({"conversations": ["q", "a"]})", options).turns, ElementsAre("q"));
  EXPECT_THAT(read_one(R"({"conversations": ["q", "a", "q2"]})", options).turns, ElementsAre("q", "a", "q2"));
  const Record prompt = read_one(R"({"prompt": "q", "id": "p1"})", options);
  EXPECT_THAT(prompt.turns, ElementsAre("q"));
  EXPECT_EQ(prompt.id, "p1");
}

TEST_F(Records, Read_KeepsTextAsItIs) {
  EXPECT_THAT(read_one(R"({"conversations": [" q\n", "\n a </s> "]})").turns, ElementsAre(" q\n", "\n a </s> "));
}

TEST_F(Records, Read_RefusesARecordWithoutAnswer) {
  EXPECT_THAT(error(R"({"conversations": ["q"]})"), AllOf(HasSubstr("in.jsonl:1: "), HasSubstr("no assistant turn")));
  EXPECT_THAT(error(R"({"conversations": []})"), HasSubstr("in.jsonl:1: the record has no turns"));
  EXPECT_THAT(error(R"({"instruction": "q"})"), HasSubstr("no assistant turn"));
}

TEST_F(Records, Read_RefusesAnEmptyTurn) {
  EXPECT_THAT(error("{\"conversations\": [\"q\", \"a\"]}\n{\"conversations\": [\"q\", \" \\n\"]}"),
              HasSubstr("in.jsonl:2: message 2 is empty"));
}

TEST_F(Records, Read_RefusesTurnsOutOfOrder) {
  EXPECT_THAT(error(R"({"conversations": [{"from": "gpt", "value": "a"}, {"from": "human", "value": "q"}]})"),
              HasSubstr("in.jsonl:1: message 1 is the assistant's, expected the user's"));
  EXPECT_THAT(error(R"({"messages": [{"role": "user", "content": "q"}, {"role": "user", "content": "q"}]})"),
              HasSubstr("message 2 is the user's, expected the assistant's"));
  EXPECT_THAT(error(R"({"messages": [{"role": "user", "content": "q"}, {"role": "system", "content": "s"}]})"),
              HasSubstr("message 2 is a system message"));
  EXPECT_THAT(error(R"({"messages": [{"role": "tool", "content": "q"}]})"), HasSubstr("messages[0] is by \"tool\""));
}

TEST_F(Records, Read_RefusesBrokenJsonWithItsLine) {
  EXPECT_THAT(error("{\"conversations\": [\"q\", \"a\"]}\n{\"conversations\": [\"q\", "),
              HasSubstr("in.jsonl:2: broken JSON"));
}

TEST_F(Records, Read_RefusesAJsonArrayAndSaysHowToConvertIt) {
  EXPECT_THAT(error("[{\"instruction\": \"q\"}]"), HasSubstr("jq -c '.[]'"));
  EXPECT_THAT(error("[\n {\"instruction\": \"q\"}\n]"), HasSubstr("jq -c '.[]'"));
}

TEST_F(Records, Read_RefusesBytesThatAreNotUtf8) {
  EXPECT_THAT(error("{\"conversations\": [\"q\", \"a\xff\"]}"),
              AllOf(HasSubstr("in.jsonl:1: "), HasSubstr("not UTF-8")));
}

TEST_F(Records, Read_RefusesHalfASurrogatePair) {
  EXPECT_THAT(error(R"({"conversations": ["q", "\ud800"]})"), HasSubstr("in.jsonl:1: broken JSON"));
}

TEST_F(Records, Read_RefusesANumberBeyondAll) {
  EXPECT_THAT(error(R"({"conversations": ["q", "a"], "score": 1e400})"), HasSubstr("in.jsonl:1: a number is larger"));
}

TEST_F(Records, Read_RefusesWrongTypes) {
  EXPECT_THAT(error(R"({"conversations": ["q", 5]})"), HasSubstr("conversations[1] must be string, this is a number"));
  EXPECT_THAT(error(R"({"conversations": "q"})"), HasSubstr("\"conversations\" must be array, this is a string"));
  EXPECT_THAT(error(R"({"messages": [["q"]]})"), HasSubstr("messages[0] must be object, this is a array"));
  EXPECT_THAT(error(R"({"messages": [{"role": "user"}]})"), HasSubstr("messages[0] has no field \"content\""));
  EXPECT_THAT(error(R"({"instruction": "q", "output": "a", "history": [["q"]]})"),
              HasSubstr("history[0] must hold two texts"));
  EXPECT_THAT(error(R"({"conversations": ["q", "a"], "role": 5})"), HasSubstr("\"role\" must be string"));
  EXPECT_THAT(error(R"({"conversations": ["q", "a"], "id": 1.5})"), HasSubstr("\"id\" must be string"));
  EXPECT_THAT(error("17"), HasSubstr("a record must be a JSON object, this is a number"));
}

TEST_F(Records, Read_RefusesAnUnknownFormat) {
  EXPECT_THAT(error(R"({"question": "q", "answer": "a"})"),
              HasSubstr("in.jsonl:1: the format of the records is not known"));
}

TEST_F(Records, Read_RefusesAnEmptyFile) {
  EXPECT_THAT(error(""), EndsWith("in.jsonl: has no records in it"));
  EXPECT_THAT(error("\n \n"), EndsWith("in.jsonl: has no records in it"));
}

TEST_F(Records, Open_RefusesAMissingFileAndAFolder) {
  EXPECT_THROW(RecordReader(folder_.path() / "none.jsonl", {}), BadInput);
  EXPECT_THROW(RecordReader(folder_.path(), {}), BadInput);
}

TEST_F(Records, Role_MustBeginWithThePrefix) {
  const std::string text =
      "{\"conversations\": [\"q\", \"a\"]}\n{\"conversations\": [\"q\", \"a\"], \"role\": \"An expert.\"}";
  EXPECT_THAT(error(text), HasSubstr("in.jsonl:2: the role is \"An expert.\", it must begin with \"You are\""));
  EXPECT_THAT(error(R"({"conversations": ["q", "a"], "role": ""})"), HasSubstr("it must begin with"));
}

TEST_F(Records, Role_MayHaveNoBlankLine) {
  EXPECT_THAT(error(R"({"conversations": ["q", "a"], "role": "You are\n\na cook."})"), HasSubstr("blank line"));
  EXPECT_THAT(error(R"({"conversations": ["q", "a"], "role": "You are\n \t\r\na cook."})"), HasSubstr("blank line"));
  EXPECT_EQ(read_one(R"({"conversations": ["q", "a"], "role": "You are\na cook."})").role, "You are\na cook.");
}

TEST_F(Records, Role_HasNoWhiteSpaceAtItsEnd) {
  EXPECT_EQ(read_one(R"({"conversations": ["q", "a"], "role": "You are a cook. \n\n"})").role, "You are a cook.");
  EXPECT_EQ(read_one(R"({"conversations": ["q", "a"], "role": null})").role, std::nullopt);
}

TEST_F(Records, Id_MustBeShort) {
  const std::string long_id(256, 'x');
  EXPECT_THAT(error("{\"conversations\": [\"q\", \"a\"], \"id\": \"" + long_id + "\"}"), HasSubstr("the limit is 255"));
  EXPECT_THAT(error("{\"conversations\": [\"q\", \"a\"], \"source\": \"" + long_id + "\"}"),
              HasSubstr("the limit is 255"));
  EXPECT_THAT(error(R"({"conversations": ["q", "a"], "id": "a\u0000b"})"), HasSubstr("NUL"));
}

TEST_F(Records, Hash_IsThatOfTheFile) {
  for (const std::string end : {"", "\n", "\r\n\n"}) {
    const std::string text = "{\"conversations\": [\"q\", \"a\"]}\n\n{\"conversations\": [\"q\", \"a\"]}" + end;
    Sha256 hash;
    RecordReader reader(folder_.put("in.jsonl", text), {});
    reader.hash_into(hash);
    read_all(reader);
    EXPECT_EQ(hash.hex(), sha256_hex(text));
  }
}

TEST(BlankLine, IsEmptyOrWhiteSpaceOnly) {
  EXPECT_FALSE(find_blank_line("a\nb\n"));
  EXPECT_FALSE(find_blank_line("\na"));
  EXPECT_FALSE(find_blank_line("a\n  "));
  const auto blank = find_blank_line("a\nb\n \t\nc");
  ASSERT_TRUE(blank);
  EXPECT_EQ(blank->begin, 3u);
  EXPECT_EQ(blank->end, 7u);
}

}  // namespace
}  // namespace spt
