#include "data/prepare.h"

#include <fstream>
#include <functional>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

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
  // The rows of a corpus as text.
  std::vector<std::string> rows(const std::string& name = "out.h5") {
    const Dataset dataset(folder_ / name);
    std::vector<std::string> texts;
    for (int64_t row = 0; row < dataset.size(); ++row) {
      const Batch batch = dataset.batch(std::span(&row, 1));
      const int64_t* ids = batch.ids.const_data_ptr<int64_t>();
      texts.push_back(tokenizer_.read({ids, ids + batch.ids.numel()}));
    }
    return texts;
  }
  std::vector<std::string> ids(const std::string& name = "out.h5") {
    const H5Reader file(folder_ / name);
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

// Several megabytes, so that several threads have several batches each.
std::string many_records(int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text +=
        fmt::format("{{\"conversations\": [\"q{0}\", \"a{0}{1}\"], \"role\": \"You are {0}.\", \"source\": \"{2}\"}}\n",
                    i, std::string(static_cast<size_t>(i % 997), 'x'), i % 3 == 0 ? "three" : "other");
  return text;
}

TEST_F(Prepare, Threads_DoNotChangeAByte) {
  PrepareConfig made = config(many_records(5000));
  made.shards = 3;
  made.selection.valid = parse_amount("--valid", "100");
  made.valid_out = folder_ / "valid.h5";
  made.force = true;
  std::map<std::string, std::string> first;
  for (const int64_t threads : {1, 2, 7}) {
    made.threads = threads;
    run(made);
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      const std::string name = entry.path().filename();
      const auto [known, is_new] = first.emplace(name, folder_.get(name));
      EXPECT_EQ(is_new, threads == 1) << name;
      EXPECT_TRUE(known->second == folder_.get(name)) << name << " with " << threads << " threads";
    }
  }
  EXPECT_EQ(first.size(), 6u);  // in, out, three parts, valid
}

TEST_F(Prepare, Shards_HoldTheSameRows) {
  PrepareConfig made = config(many_records(50));
  run(made);
  const auto whole = rows();
  const std::string hash = Dataset(made.out).info().content_sha256;
  made.force = true;
  made.shards = 4;
  run(made);
  EXPECT_EQ(rows(), whole);
  EXPECT_EQ(Dataset(made.out).parts(), 4);
  EXPECT_EQ(Dataset(made.out).info().content_sha256, hash);
  EXPECT_NO_THROW(Dataset(made.out).verify());
  made.force = false;
  std::filesystem::remove(made.out);
  EXPECT_THAT(error(made), HasSubstr("out.part-00001-of-00004.h5: exists already"));
}

TEST_F(Prepare, Shards_AreAtMostTheExamples) {
  PrepareConfig made = config(kTwoRecords);
  for (const int64_t shards : {0, 3, 100'000}) {
    made.shards = shards;
    EXPECT_THAT(error(made), HasSubstr(fmt::format("--shards is {}", shards)));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5.partial"));
}

TEST_F(Prepare, HeldOutRecords_AreTheSameInBothArmsAndForEverySize) {
  std::vector<std::string> held_out, large;
  for (const Arm arm : {Arm::kRole, Arm::kPlain})
    for (const char* size : {"50", "20"}) {
      PrepareConfig made = config(many_records(100));
      made.arm = arm;
      made.force = true;
      made.selection.valid = parse_amount("--valid", "0.1");
      made.selection.random = parse_amount("--select random", size);
      made.valid_out = folder_ / "valid.h5";
      EXPECT_EQ(run(made).valid_examples, 10);
      if (held_out.empty()) held_out = ids("valid.h5"), large = ids();
      EXPECT_EQ(ids("valid.h5"), held_out);
      EXPECT_EQ(ids().size(), std::stoul(size));
      for (const std::string& id : ids()) {
        EXPECT_THAT(large, ::testing::Contains(id));
        EXPECT_THAT(held_out, Not(::testing::Contains(id)));
      }
    }
  EXPECT_EQ(held_out.size(), 10u);
  EXPECT_EQ(Dataset(folder_ / "out.h5").info().selection, R"({"seed":1,"weights":[1.0],"valid":0.1,"random":20})");
}

// Of 20 records each second one has no room for its answer.
TEST_F(Prepare, DroppedRecords_AreCountedWhereTheyWouldHaveBeenAndAsOftenAsTheyCount) {
  std::string text;
  for (int i = 0; i < 20; ++i)
    text += fmt::format("{{\"conversations\": [\"{}\", \"a\"], \"role\": \"You are A.\"}}\n", i % 2 == 0 ? "q" : "qqq");
  PrepareConfig made = config(text);
  made.max_tokens = 8;
  made.selection.valid = parse_amount("--valid", "0.5");
  made.selection.weights = {3};
  made.valid_out = folder_ / "valid.h5";
  const PrepareStatistics statistics = run(made);
  const auto valid = static_cast<int64_t>(ids("valid.h5").size());
  EXPECT_GT(valid, 0);
  EXPECT_LT(valid, 10);
  EXPECT_EQ(Dataset(made.valid_out).info().dropped_examples, 10 - valid);
  EXPECT_EQ(statistics.examples, 3 * (10 - valid));
  EXPECT_EQ(statistics.dropped_too_long, 3 * valid);
  EXPECT_EQ(Dataset(made.out).info().dropped_examples, 3 * valid);
}

// A tokenizer that does something to the records when the first of them is encoded, while the last are still to be
// read.
class Meddling : public FakeTokenizer {
 public:
  explicit Meddling(std::function<void()> meddle) : meddle_(std::move(meddle)) {}
  std::vector<int32_t> encode(std::string_view text, bool at_start) const override {
    if (text.find("q0:") != std::string_view::npos && meddle_) std::exchange(meddle_, nullptr)();
    return FakeTokenizer::encode(text, at_start);
  }

 private:
  mutable std::function<void()> meddle_;
};

TEST_F(Prepare, RecordsThatChangeMeanwhile_AreRefused) {
  PrepareConfig made = config(many_records(10'000));
  made.threads = 1;
  const auto overwrite_last_answer = [&] {
    std::fstream file(made.inputs[0]);
    file.seekp(-60, std::ios::end);
    file.put('y');
  };
  const auto append_records = [&] { std::ofstream(made.inputs[0], std::ios::app) << many_records(2000); };
  for (const std::function<void()>& meddle :
       {std::function<void()>(overwrite_last_answer), std::function<void()>(append_records)}) {
    try {
      prepare(made, template_, Meddling(meddle));
      FAIL();
    } catch (const BadInput& bad) {
      EXPECT_THAT(bad.what(), HasSubstr("the records changed while they were read"));
    }
    EXPECT_FALSE(std::filesystem::exists(made.out));
    folder_.put("in.jsonl", many_records(10'000));
  }
}

TEST_F(Prepare, Source_ChoosesItsRecords) {
  PrepareConfig made = config(kTwoRecords);
  made.selection.sources = {"x"};
  EXPECT_EQ(run(made).records, 2);
  EXPECT_THAT(ids(), ElementsAre("1"));
  made.selection.sources = {"x", ""};
  made.force = true;
  run(made);
  EXPECT_THAT(ids(), ElementsAre("1", "2"));
}

TEST_F(Prepare, ASourceThatNoRecordHas_IsRefusedWithThoseThereAre) {
  PrepareConfig made = config(kTwoRecords);
  made.selection.sources = {"x", "y"};
  EXPECT_THAT(error(made), AllOf(HasSubstr("--select source=y: no record is of it"), HasSubstr("there are: \"\" "),
                                 HasSubstr(", x"), Not(HasSubstr("…"))));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5"));
  std::string many;
  for (int i = 0; i < 30; ++i)
    many += fmt::format("{{\"conversations\": [\"q\", \"a\"], \"role\": \"You are A.\", \"source\": \"s{:02}\"}}\n", i);
  made = config(many);
  made.selection.sources = {"s29"};  // beyond those that are kept to be named
  run(made);
  EXPECT_THAT(ids(), ElementsAre("30"));
  made.force = true;
  made.selection.sources = {"s30"};
  EXPECT_THAT(error(made), AllOf(HasSubstr("s00, s01"), HasSubstr("…"), Not(HasSubstr("s29"))));
}

TEST_F(Prepare, Weights_GiveCopiesIdsOfTheirOwn) {
  PrepareConfig made = config(kTwoRecords);
  made.inputs.push_back(folder_.put("more.jsonl", kTwoRecords));
  made.selection.weights = {3};
  run(made);
  EXPECT_THAT(ids(), ElementsAre("in.jsonl:1", "in.jsonl:1#2", "in.jsonl:1#3", "in.jsonl:2", "in.jsonl:2#2",
                                 "in.jsonl:2#3", "more.jsonl:1", "more.jsonl:2"));
  EXPECT_EQ(rows()[0], rows()[2]);
  EXPECT_NO_THROW(Dataset(made.out).verify());
  made.selection.weights = {1, 1, 1};
  EXPECT_THAT(error(made), HasSubstr("--weight is given 3 times for 2 files"));
}

TEST_F(Prepare, ACopysId_MayStandNowhereElse) {
  PrepareConfig made = config(
      "{\"id\": \"a\", \"conversations\": [\"q\", \"a\"], \"role\": \"You are A.\"}\n"
      "{\"id\": \"a#2\", \"conversations\": [\"q\", \"a\"], \"role\": \"You are A.\"}\n");
  made.selection.weights = {2};
  EXPECT_THAT(error(made), HasSubstr("the id \"a#2\" stands at "));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5.partial"));
}

TEST_F(Prepare, Ablations_ChangeTheRoleAlone) {
  PrepareConfig made = config(
      "{\"conversations\": [\"q1\", \"a1\"], \"role\": \"You are A. The user asks.\"}\n"
      "{\"conversations\": [\"q2\", \"a2\"], \"role\": \"You are B.\"}\n");
  made.force = true;
  made.ablation.roles = Roles::kShuffled;
  run(made);
  EXPECT_THAT(rows(), ElementsAre("<s>_S|q1: You are B.\n\na1</s>", "<s>_S|q2: You are A. The user asks.\n\na2</s>"));
  made.ablation.roles = Roles::kGeneric;
  run(made);
  EXPECT_THAT(rows()[1], HasSubstr("|q2: You are an expert in the field of this question.\n\na2</s>"));
  made.ablation.roles = Roles::kOwn;
  made.ablation.restatement = false;
  EXPECT_EQ(run(made).without_restatement, 1);
  EXPECT_THAT(rows(), ElementsAre("<s>_S|q1: You are A.\n\na1</s>", "<s>_S|q2: You are B.\n\na2</s>"));
  made.ablation.restatement = true;
  made.ablation.roles = Roles::kFiller;
  const int64_t tokens = run(made).tokens;
  EXPECT_THAT(rows()[0], AllOf(HasSubstr("|q1: You are"), Not(HasSubstr("user")), HasSubstr("\n\na1</s>")));
  made.ablation = {};
  EXPECT_EQ(run(made).tokens, tokens);
  const int64_t trained = run(made).trained_tokens;
  made.ablation.role_loss = false;
  EXPECT_EQ(run(made).trained_tokens, trained - 28 - 13);  // " You are A. The user asks.\n\n" and " You are B.\n\n"
  EXPECT_EQ(Dataset(made.out).info().ablation,
            R"({"system":"default","roles":"own","restatement":true,"role_loss":false})");
}

TEST_F(Prepare, RoleLossOff_KeepsTheRecordsOfTheOtherArms) {
  PrepareConfig made = config("{\"conversations\": [\"q\", \"a\"], \"role\": \"You are A long one.\"}\n");
  made.max_tokens = 10;  // ends inside the role
  made.ablation.role_loss = false;
  const PrepareStatistics statistics = run(made);
  EXPECT_EQ(statistics.examples, 1);
  EXPECT_EQ(statistics.trained_tokens, 0);
}

TEST_F(Prepare, SystemLine_IsTheCorpussAndItsTemplates) {
  PrepareConfig made = config(kTwoRecords);
  made.ablation.system = "Be brief.";
  run(made);
  EXPECT_THAT(rows()[0], ::testing::StartsWith("<s>_Be brief.|q1:"));
  const Dataset dataset(made.out);
  EXPECT_EQ(dataset.info().system, "Be brief.");
  EXPECT_EQ(ChatTemplate::parse(dataset.info().template_text, "corpus").system(), "Be brief.");
  made.ablation.system = "none";
  made.force = true;
  EXPECT_THAT(error(made), HasSubstr("start_without_system"));
}

TEST_F(Prepare, Valid_NeedsItsFile) {
  PrepareConfig made = config(kTwoRecords);
  made.selection.valid = parse_amount("--valid", "1");
  EXPECT_THAT(error(made), HasSubstr("--valid and --valid-out belong together"));
  made.valid_out = made.out;
  EXPECT_THAT(error(made), HasSubstr("--out and --valid-out at once"));
  made.valid_out = folder_.put("valid.h5", "mine");
  EXPECT_THAT(error(made), AllOf(HasSubstr("valid.h5: exists already"), HasSubstr("--valid-out")));
  EXPECT_EQ(folder_.get("valid.h5"), "mine");
}

TEST_F(Prepare, Input_ThatCannotBeReadTwiceIsRefused) {
  PrepareConfig made = config(kTwoRecords);
  made.inputs = {folder_ / "pipe"};
  ASSERT_EQ(mkfifo(made.inputs[0].c_str(), 0600), 0);
  EXPECT_THAT(error(made), HasSubstr("is no regular file; records are read twice"));
}

}  // namespace
}  // namespace spt
