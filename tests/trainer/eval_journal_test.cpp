#include "trainer/eval/eval_journal.h"

#include <fstream>

#include <gmock/gmock.h>

#include "tests/temporary_folder.h"
#include "tests/trainer/messages.h"

namespace spt {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

const nlohmann::json kFacts = {{"eval.role", "self"}, {"tokenizer", "t"}};

ordered_json sample(const std::string& id, double score) {
  return {{"task", "t"}, {"id", id}, {"score", score}};
}

TEST(EvalJournal, ReadsBackTheSamplesOfAllRanks) {
  const TemporaryFolder folder;
  EXPECT_TRUE(read_eval_journal(folder / "none", kFacts).empty());
  EvalJournal(folder.path(), 0, kFacts).append(sample("1", 1));
  EvalJournal(folder.path(), 3, kFacts).append(sample("2", 0));
  EvalJournal(folder.path(), 0, kFacts).append(sample("3", 1));
  const auto found = read_eval_journal(folder.path(), kFacts);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[1]["id"], "3");
  EXPECT_EQ(found[2]["id"], "2");
}

TEST(EvalJournal, ATornLine_IsLeftOutAndCut) {
  const TemporaryFolder folder;
  EvalJournal(folder.path(), 0, kFacts).append(sample("1", 1));
  std::ofstream(folder / "rank-00000.jsonl", std::ios::app) << R"({"task":"t","id":"2","sc)";
  EXPECT_EQ(read_eval_journal(folder.path(), kFacts).size(), 1U);
  EvalJournal(folder.path(), 0, kFacts).append(sample("3", 1));
  const auto found = read_eval_journal(folder.path(), kFacts);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[1]["id"], "3");
}

TEST(EvalJournal, OfAnotherEvaluationOrBroken_IsRefused) {
  const TemporaryFolder folder;
  EvalJournal(folder.path(), 0, kFacts).append(sample("1", 1));
  EXPECT_THAT(bad_input_of([&] {
                read_eval_journal(folder.path(), {{"eval.role", "none"}, {"tokenizer", "t"}, {"task x", "s"}});
              }),
              HasSubstr("is of another evaluation (what differs: eval.role, task x (its file or "
                        "data, eval.limit, eval.seed, eval.shots)); choose another run.dir"));
  std::ofstream(folder / "rank-00000.jsonl", std::ios::app) << "{}\n";
  EXPECT_THAT(bad_input_of([&] { read_eval_journal(folder.path(), kFacts); }),
              HasSubstr("rank-00000.jsonl:3: is no line"));
}

TEST(EvalJournal, Watch_CountsWhatAllRanksWriteFromNowOn) {
  const TemporaryFolder folder;
  EvalJournal first(folder.path(), 0, kFacts);
  first.append(sample("1", 1));
  JournalWatch watch(folder.path());
  EXPECT_EQ(watch.look().samples, 0);
  EvalJournal second(folder.path(), 1, kFacts);
  first.append(sample("2", 0));
  second.append(sample("3", 1));
  second.append({{"task", "t"}, {"id", "4"}});
  EXPECT_EQ(watch.look().samples, 3);
  EXPECT_EQ(watch.look().scored, 2);
  EXPECT_EQ(watch.look().score, 1.0);
}

}  // namespace
}  // namespace spt
