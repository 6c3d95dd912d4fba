#include <gmock/gmock.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/sha256.h"
#include "tests/data/prepare_case.h"

namespace spt {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Prepare : public PrepareCase {};

TEST_F(Prepare, RoleArm_PutsTheRoleBeforeTheFirstAnswer) {
  const PrepareStatistics statistics = run(config(kTwoRecords));
  EXPECT_THAT(rows(), ElementsAre("<s>_S|q1: You are A.\n\na1</s>", "<s>_S|q2: You are B.\n\na2</s>|q3: a3</s>"));
  EXPECT_EQ(statistics.records, 2);
  EXPECT_EQ(statistics.examples, 2);
  EXPECT_EQ(statistics.tokens, 23 + 31);
  EXPECT_EQ(statistics.trained_tokens, 16 + 16 + 4);
  EXPECT_EQ(statistics.without_role, 0);
}

TEST_F(Prepare, PlainArm_LacksTheRoleOnly) {
  PrepareConfig plain = config(kTwoRecords);
  plain.arm = Arm::kPlain;
  run(plain);
  EXPECT_THAT(rows(), ElementsAre("<s>_S|q1: a1</s>", "<s>_S|q2: a2</s>|q3: a3</s>"));
}

TEST_F(Prepare, Corpus_SaysWhereItComesFrom) {
  PrepareConfig made = config(kTwoRecords);
  made.max_tokens = 300;
  run(made);
  const Dataset dataset(made.out);
  EXPECT_EQ(dataset.info().arm, "role");
  EXPECT_EQ(dataset.info().template_text, kTemplate);
  EXPECT_EQ(dataset.info().system, "S");
  EXPECT_EQ(dataset.info().role_prefix, "You are");
  EXPECT_EQ(dataset.info().tokenizer_sha256, tokenizer_.sha256());
  EXPECT_EQ(dataset.info().source_sha256, sha256_hex(kTwoRecords));
  EXPECT_EQ(dataset.info().max_tokens, 300);
  EXPECT_EQ(dataset.source(0), "x");
  EXPECT_EQ(dataset.source(1), "");
  EXPECT_THAT(ids(), ElementsAre("1", "2"));
  EXPECT_NO_THROW(dataset.verify());
}

TEST_F(Prepare, Corpus_HasTheSameBytesEachTime) {
  run(config(kTwoRecords));
  const std::string first = folder_.get("out.h5");
  PrepareConfig again = config(kTwoRecords);
  again.force = true;
  run(again);
  EXPECT_EQ(first, folder_.get("out.h5"));
}

TEST_F(Prepare, MaxTokens_CutsWithoutEosAndCounts) {
  PrepareConfig plain = config("{\"conversations\": [\"q\", \"long answer\"]}\n{\"conversations\": [\"q\", \"ok\"]}\n");
  plain.arm = Arm::kPlain;
  plain.max_tokens = 10;
  const PrepareStatistics statistics = run(plain);
  EXPECT_THAT(rows(), ElementsAre("<s>_S|q: lon", "<s>_S|q: ok</s>"));
  EXPECT_EQ(statistics.truncated, 1);
  EXPECT_EQ(statistics.longest, 10);
  EXPECT_EQ(statistics.trained_tokens, 4 + 4);
  EXPECT_EQ(Dataset(plain.out).info().truncated_examples, 1);
}

TEST_F(Prepare, MaxTokens_OneShortOfTheEosCutsJustThat) {
  PrepareConfig plain = config("{\"conversations\": [\"q\", \"ok\"]}\n");
  plain.arm = Arm::kPlain;
  plain.max_tokens = 9;
  EXPECT_EQ(run(plain).truncated, 1);
  EXPECT_THAT(rows(), ElementsAre("<s>_S|q: ok"));
}

TEST_F(Prepare, ExampleWithoutRoomForItsAnswer_IsDroppedInBothArmsAlike) {
  // With 8 tokens the context "<s>_S|qq:" (7) leaves room for one trained token, "<s>_S|qqq:" (8) for none.
  const std::string text =
      "{\"conversations\": [\"qq\", \"a\"], \"role\": \"You are A.\"}\n{\"conversations\": [\"qqq\", \"a\"], \"role\": "
      "\"You are A.\"}\n"
      "{\"conversations\": [\"q\", \"a\", \"a long question\", \"a\"], \"role\": \"You are A.\"}\n";
  for (const Arm arm : {Arm::kRole, Arm::kPlain}) {
    PrepareConfig made = config(text);
    made.arm = arm;
    made.max_tokens = 8;
    made.force = true;
    EXPECT_EQ(run(made).dropped_too_long, 1);
    EXPECT_THAT(ids(), ElementsAre("1", "3"));
    EXPECT_EQ(Dataset(made.out).info().dropped_examples, 1);
  }
}

TEST_F(Prepare, TrailingUserTurns_AreCounted) {
  PrepareConfig plain = config("{\"conversations\": [\"q\", \"a\", \"q\"]}\n");
  plain.arm = Arm::kPlain;
  EXPECT_EQ(run(plain).dropped_trailing_turns, 1);
  EXPECT_THAT(rows(), ElementsAre("<s>_S|q: a</s>"));
}

constexpr const char* kSomeWithoutRole =
    "{\"conversations\": [\"q\", \"a\"]}\n{\"conversations\": [\"q\", \"a\"], \"role\": \"You are "
    "A.\"}\n{\"conversations\": [\"q\", \"a\"]}\n";

TEST_F(Prepare, MissingRole_IsAnErrorThatListsLinesAndCount) {
  EXPECT_THAT(error(config(kSomeWithoutRole)),
              AllOf(HasSubstr("2 of 3 records have no role"), HasSubstr("in.jsonl:1, "), HasSubstr("in.jsonl:3;"),
                    Not(HasSubstr("in.jsonl:2")), HasSubstr("--missing-role drop")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5"));
}

TEST_F(Prepare, MissingRole_DropLeavesTheSameRecordsOutOfBothArms) {
  for (const Arm arm : {Arm::kRole, Arm::kPlain}) {
    PrepareConfig made = config(kSomeWithoutRole);
    made.arm = arm;
    made.missing_role = MissingRole::kDrop;
    made.force = true;
    EXPECT_EQ(run(made).dropped_without_role, 2);
    EXPECT_THAT(ids(), ElementsAre("2"));
    EXPECT_EQ(Dataset(made.out).info().dropped_examples, 2);
  }
}

TEST_F(Prepare, MissingRole_IsNoErrorInThePlainArm) {
  PrepareConfig plain = config(kSomeWithoutRole);
  plain.arm = Arm::kPlain;
  EXPECT_EQ(run(plain).without_role, 2);
  EXPECT_THAT(ids(), ElementsAre("1", "2", "3"));
}

TEST_F(Prepare, NoExampleLeft_IsAnError) {
  PrepareConfig made = config("{\"conversations\": [\"q\", \"a\"]}\n");
  made.missing_role = MissingRole::kDrop;
  EXPECT_THAT(error(made), HasSubstr("no example is left of 1 records"));
  made.arm = Arm::kPlain;
  made.missing_role = MissingRole::kError;
  made.max_tokens = 2;
  EXPECT_THAT(error(made), HasSubstr("no answer within --max-tokens 2"));
}

TEST_F(Prepare, LongRoles_AreCounted) {
  const auto with_role = [](size_t size) {
    return "{\"conversations\": [\"q\", \"a\"], \"role\": \"You are " + std::string(size - 8, 'x') + "\"}\n";
  };
  EXPECT_EQ(run(config(with_role(kMaxRoleTokens - 3))).long_roles, 0);
  PrepareConfig longer = config(with_role(kMaxRoleTokens - 2));
  longer.force = true;
  EXPECT_EQ(run(longer).long_roles, 1);
}

TEST_F(Prepare, Out_IsNotReplacedWithoutForce) {
  PrepareConfig made = config(kTwoRecords);
  folder_.put("out.h5", "mine");
  EXPECT_THAT(error(made), AllOf(HasSubstr("out.h5: exists already"), HasSubstr("--force")));
  EXPECT_EQ(folder_.get("out.h5"), "mine");
  made.force = true;
  run(made);
  EXPECT_EQ(rows().size(), 2u);
}

TEST_F(Prepare, Out_IsLeftAloneWhenTheInputIsBad) {
  PrepareConfig made = config(std::string(kTwoRecords) + "{broken\n");
  made.force = true;
  folder_.put("out.h5", "mine");
  EXPECT_THAT(error(made), HasSubstr("in.jsonl:3: broken JSON"));
  EXPECT_EQ(folder_.get("out.h5"), "mine");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5.partial"));
}

TEST_F(Prepare, Out_MustBeAFileInAFolderThatExistsAndNoInput) {
  PrepareConfig made = config(kTwoRecords);
  made.out = folder_ / "none/out.h5";
  EXPECT_THAT(error(made), HasSubstr("does not exist: create it"));
  made.out = folder_.path();
  EXPECT_THAT(error(made), HasSubstr("is a folder"));
  made.out = folder_ / "./in.jsonl";
  made.force = true;
  EXPECT_THAT(error(made), HasSubstr("input and output at once"));
  EXPECT_EQ(folder_.get("in.jsonl"), kTwoRecords);
}

TEST_F(Prepare, MaxTokens_HasLimits) {
  PrepareConfig made = config(kTwoRecords);
  for (const int64_t limit : {int64_t{-5}, int64_t{0}, int64_t{1}, int64_t{1} << 40}) {
    made.max_tokens = limit;
    EXPECT_THAT(error(made), HasSubstr("--max-tokens is " + std::to_string(limit)));
  }
}

TEST_F(Prepare, SeveralFiles_GiveIdsWithTheirNames) {
  PrepareConfig made = config(kTwoRecords);
  made.inputs.push_back(
      folder_.put("more.jsonl",
                  "{\"id\": \"own\", \"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": "
                  "\"assistant\", \"content\": \"a\"}], \"role\": \"You are C.\"}"));
  run(made);
  EXPECT_THAT(ids(), ElementsAre("in.jsonl:1", "in.jsonl:2", "own"));
  EXPECT_EQ(Dataset(made.out).info().source_sha256, sha256_hex(kTwoRecords + folder_.get("more.jsonl")));
}

TEST_F(Prepare, FilesOfOneName_GiveIdsWithAsManyFoldersAsTellThemApart) {
  for (const char* folder : {"one/data", "two/data", "two/more"}) std::filesystem::create_directories(folder_ / folder);
  PrepareConfig made = config(kTwoRecords);
  made.inputs = {folder_.put("one/data/in.jsonl", kTwoRecords), folder_ / "one/../two/data/in.jsonl",
                 folder_.put("two/more/in.jsonl", kTwoRecords), folder_.put("other.jsonl", kTwoRecords)};
  folder_.put("two/data/in.jsonl", kTwoRecords);
  run(made);
  EXPECT_THAT(ids(),
              ElementsAre("one/data/in.jsonl:1", "one/data/in.jsonl:2", "two/data/in.jsonl:1", "two/data/in.jsonl:2",
                          "more/in.jsonl:1", "more/in.jsonl:2", "other.jsonl:1", "other.jsonl:2"));
}

TEST_F(Prepare, AFileGivenTwice_IsRefusedWithTheWeight) {
  PrepareConfig made = config(kTwoRecords);
  made.inputs.push_back(folder_ / "./in.jsonl");
  EXPECT_THAT(error(made), AllOf(HasSubstr("in.jsonl: is given twice"), HasSubstr("--weight 2")));
}

TEST_F(Prepare, AFileNameThatIsNotUtf8_IsRefusedWhereIdsWouldHaveIt) {
  PrepareConfig made = config(kTwoRecords);
  const auto strange = folder_.put("caf\xE9.jsonl", kTwoRecords);
  made.inputs.push_back(strange);
  EXPECT_THAT(error(made), HasSubstr("the name is not UTF-8"));
  made.inputs = {strange};
  run(made);
  EXPECT_THAT(ids(), ElementsAre("1", "2"));
}

TEST_F(Prepare, ExamplesLongerThanTheModelTakes_AreCountedInBothParts) {
  PrepareConfig made = config(kTwoRecords);  // 23 and 31 tokens
  made.selection.valid = parse_amount("--valid", "1");
  made.valid_out = folder_ / "valid.h5";
  made.force = true;
  for (const auto& [model_tokens, expected] : {std::pair(0, 0), std::pair(22, 2), std::pair(23, 1), std::pair(31, 0)}) {
    made.model_tokens = model_tokens;
    EXPECT_EQ(run(made).beyond_model, expected) << model_tokens;
  }
}

TEST_F(Prepare, ATextThatTheTokenizerRefuses_IsNamedByItsPlace) {
  class Refusing : public FakeTokenizer {
    std::vector<int32_t> encode(std::string_view text, bool at_start) const override {
      if (text.find("a3") != std::string_view::npos) throw BadInput("a text is bad");
      return FakeTokenizer::encode(text, at_start);
    }
  };
  try {
    prepare(config(kTwoRecords), template_, Refusing());
    FAIL();
  } catch (const BadInput& bad) {
    EXPECT_THAT(bad.what(), HasSubstr("in.jsonl:2: a text is bad"));
  }
}

TEST_F(Prepare, ASpecialTokenThatLacks_IsNotTheFirstRecordsFault) {
  const ChatTemplate special = ChatTemplate::parse(
      "system: S\nstart: \"{system}{user}{special:<x>}\"\nanswer: \"{assistant}{eos}\"\nnext: \"{user}:\"\n", "t.yaml");
  try {
    prepare(config(kTwoRecords), special, tokenizer_);
    FAIL();
  } catch (const BadInput& bad) {
    EXPECT_THAT(bad.what(), AllOf(HasSubstr("t.yaml: the tokenizer has no special token"), Not(HasSubstr("in.jsonl"))));
  }
}

TEST_F(Prepare, AnIdThatStandsTwice_IsRefused) {
  EXPECT_THAT(error(config("{\"conversations\": [\"q\", \"a\"], \"role\": \"You are A.\"}\n"
                           "{\"id\": 1, \"conversations\": [\"q\", \"a\"], \"role\": \"You are A.\"}\n")),
              AllOf(HasSubstr("in.jsonl:2: the id \"1\" stands at "), HasSubstr("in.jsonl:1 already")));
}

TEST_F(Prepare, Input_ThatCannotBeReadTwiceIsRefused) {
  PrepareConfig made = config(kTwoRecords);
  made.inputs = {folder_ / "pipe"};
  ASSERT_EQ(mkfifo(made.inputs[0].c_str(), 0600), 0);
  EXPECT_THAT(error(made), HasSubstr("is no regular file; records are read twice"));
}

}  // namespace
}  // namespace spt
