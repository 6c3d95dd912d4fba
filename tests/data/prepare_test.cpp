#include "data/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/sha256.h"
#include "data/dataset.h"
#include "data/h5_file.h"
#include "tests/data/fake_tokenizer.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Ids read as the text's bytes, <s> and </s>, the dummy prefix "_".
constexpr const char* kTemplate =
    "system: S\nstart: \"{bos}{system}|{user}:\"\nanswer: \" {assistant}{eos}\"\nnext: \"|{user}:\"\n";
constexpr const char* kTwoRecords =
    "{\"conversations\": [\"q1\", \"a1\"], \"role\": \"You are A.\", \"source\": \"x\"}\n"
    "{\"conversations\": [\"q2\", \"a2\", \"q3\", \"a3\"], \"role\": \"You are B.\"}\n";

class Prepare : public ::testing::Test {
 protected:
  PrepareConfig config(const std::string& text) {
    PrepareConfig made;
    made.inputs = {folder_.put("in.jsonl", text)};
    made.out = folder_ / "out.h5";
    return made;
  }
  PrepareStatistics run(const PrepareConfig& config) { return prepare(config, template_, tokenizer_); }
  std::string error(const PrepareConfig& config) {
    try {
      run(config);
    } catch (const BadInput& bad) {
      return bad.what();
    }
    return "no error";
  }
  // The rows of out.h5 as text.
  std::vector<std::string> rows() {
    const Dataset dataset(folder_ / "out.h5");
    std::vector<std::string> texts;
    for (int64_t row = 0; row < dataset.size(); ++row) {
      const Batch batch = dataset.batch(std::span(&row, 1));
      const int64_t* ids = batch.ids.const_data_ptr<int64_t>();
      texts.push_back(tokenizer_.read({ids, ids + batch.ids.numel()}));
    }
    return texts;
  }
  std::vector<std::string> ids() {
    const H5Reader file(folder_ / "out.h5");
    return file.read_texts("id", 0, file.size("id"));
  }
  TemporaryFolder folder_;
  const FakeTokenizer tokenizer_;
  const ChatTemplate template_ = ChatTemplate::parse(kTemplate, "t.yaml");
};

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

TEST_F(Prepare, AnIdThatStandsTwice_IsRefused) {
  EXPECT_THAT(error(config("{\"conversations\": [\"q\", \"a\"], \"role\": \"You are A.\"}\n"
                           "{\"id\": 1, \"conversations\": [\"q\", \"a\"], \"role\": \"You are A.\"}\n")),
              AllOf(HasSubstr("in.jsonl:2: the id \"1\" stands at "), HasSubstr("in.jsonl:1 already")));
}

}  // namespace
}  // namespace spt
