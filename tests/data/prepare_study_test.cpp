// Studies of one set of records: parts, held-out records, sizes, weights, ablations.
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.h"
#include "tests/data/prepare_case.h"

namespace spt {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class PrepareStudy : public PrepareCase {};

// Several megabytes, so that several threads have several batches each.
std::string many_records(int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text +=
        fmt::format("{{\"conversations\": [\"q{0}\", \"a{0}{1}\"], \"role\": \"You are {0}.\", \"source\": \"{2}\"}}\n",
                    i, std::string(static_cast<size_t>(i % 997), 'x'), i % 3 == 0 ? "three" : "other");
  return text;
}

TEST_F(PrepareStudy, Threads_DoNotChangeAByte) {
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

TEST_F(PrepareStudy, Shards_HoldTheSameRows) {
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

TEST_F(PrepareStudy, Shards_AreAtMostTheExamples) {
  PrepareConfig made = config(kTwoRecords);
  for (const int64_t shards : {0, 3, 100'000}) {
    made.shards = shards;
    EXPECT_THAT(error(made), HasSubstr(fmt::format("--shards is {}", shards)));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5.partial"));
}

TEST_F(PrepareStudy, HeldOutRecords_AreTheSameInBothArmsAndForEverySize) {
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
TEST_F(PrepareStudy, DroppedRecords_AreCountedWhereTheyWouldHaveBeenAndAsOftenAsTheyCount) {
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

TEST_F(PrepareStudy, RecordsThatChangeMeanwhile_AreRefused) {
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

TEST_F(PrepareStudy, Source_ChoosesItsRecords) {
  PrepareConfig made = config(kTwoRecords);
  made.selection.sources = {"x"};
  EXPECT_EQ(run(made).records, 2);
  EXPECT_THAT(ids(), ElementsAre("1"));
  made.selection.sources = {"x", ""};
  made.force = true;
  run(made);
  EXPECT_THAT(ids(), ElementsAre("1", "2"));
}

TEST_F(PrepareStudy, ASourceThatNoRecordHas_IsRefusedWithThoseThereAre) {
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

TEST_F(PrepareStudy, Weights_GiveCopiesIdsOfTheirOwn) {
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

TEST_F(PrepareStudy, ACopysId_MayStandNowhereElse) {
  PrepareConfig made = config(
      "{\"id\": \"a\", \"conversations\": [\"q\", \"a\"], \"role\": \"You are A.\"}\n"
      "{\"id\": \"a#2\", \"conversations\": [\"q\", \"a\"], \"role\": \"You are A.\"}\n");
  made.selection.weights = {2};
  EXPECT_THAT(error(made), HasSubstr("the id \"a#2\" stands at "));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5.partial"));
}

TEST_F(PrepareStudy, Ablations_ChangeTheRoleAlone) {
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

TEST_F(PrepareStudy, RoleLossOff_KeepsTheRecordsOfTheOtherArms) {
  PrepareConfig made = config("{\"conversations\": [\"q\", \"a\"], \"role\": \"You are A long one.\"}\n");
  made.max_tokens = 10;  // ends inside the role
  made.ablation.role_loss = false;
  const PrepareStatistics statistics = run(made);
  EXPECT_EQ(statistics.examples, 1);
  EXPECT_EQ(statistics.trained_tokens, 0);
}

TEST_F(PrepareStudy, SystemLine_IsTheCorpussAndItsTemplates) {
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

TEST_F(PrepareStudy, Valid_NeedsItsFile) {
  PrepareConfig made = config(kTwoRecords);
  made.selection.valid = parse_amount("--valid", "1");
  EXPECT_THAT(error(made), HasSubstr("--valid and --valid-out belong together"));
  made.valid_out = made.out;
  EXPECT_THAT(error(made), HasSubstr("--out and --valid-out at once"));
  made.valid_out = folder_.put("valid.h5", "mine");
  EXPECT_THAT(error(made), AllOf(HasSubstr("valid.h5: exists already"), HasSubstr("--valid-out")));
  EXPECT_EQ(folder_.get("valid.h5"), "mine");
}

}  // namespace
}  // namespace spt
