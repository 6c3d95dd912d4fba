#include "data/annotate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kAnnotator =
    "question: \"{question}\"\ncorrection: \"{fault}\"\nattempts: 2\n"
    "checks: {min_words: 1, max_words: 9, answer_words: 0}\n";

class AnnotateRecords : public testing::Test {
 protected:
  AnnotateRecords() : annotator_(folder_.put("a.yaml", kAnnotator).string()) {
    config_.input = folder_.put("in.jsonl",
                                "{\"b\": 1.0, \"a\": [\"ä\"], \"conversations\": [\"q1\", \"a1\"]}\n\n"
                                "{\"conversations\": [\"q2\", \"a2\"], \"role\": \"You are there.\"}\n"
                                "{\"conversations\": [\"q3\", \"a3\"], \"role\": null}\n");
    config_.out = folder_ / "out.jsonl";
    config_.report = folder_ / "report.jsonl";
  }
  // Asks for everything; `text` is the answer to each prompt.
  void annotate(const std::function<std::string(const ChatPrompt&)>& text) {
    Annotation annotation(config_, annotator_);
    annotation.begin("m", "");
    while (const auto prompt = annotation.next()) {
      asked_.push_back(prompt->turns.back());
      annotation.take({prompt->number, text(*prompt), {1, 1}, ""});
    }
    statistics_ = annotation.statistics();
    annotation.finish();
  }
  TemporaryFolder folder_;
  const Annotator annotator_;
  AnnotateConfig config_;
  std::vector<std::string> asked_;
  AnnotateStatistics statistics_;
};

TEST_F(AnnotateRecords, Output_KeepsLinesAndFieldsAsTheyAre) {
  annotate([](const ChatPrompt& prompt) { return " You are " + prompt.turns[0] + ".\n"; });
  const std::string by = R"("annotation":{"model":"m","prompt_sha256":")" + annotator_.sha256() + R"(","attempts":1}})";
  EXPECT_EQ(folder_.get("out.jsonl"), R"({"b":1.0,"a":["ä"],"conversations":["q1","a1"],"role":"You are q1.",)" + by +
                                          "\n\n{\"conversations\": [\"q2\", \"a2\"], \"role\": \"You are there.\"}\n" +
                                          R"({"conversations":["q3","a3"],"role":"You are q3.",)" + by + "\n");
  EXPECT_EQ(folder_.get("report.jsonl"), "");
  EXPECT_EQ(statistics_.kept, 1);
  EXPECT_EQ(statistics_.roles, 2);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.jsonl.journal"));
}

TEST_F(AnnotateRecords, AFaultyAnswerIsAskedForAgainUntilTheLastAttempt) {
  annotate([](const ChatPrompt& prompt) { return prompt.turns[0] == "q1" ? "bad" : "You are fine."; });
  EXPECT_THAT(asked_, ElementsAre("q1", "it does not begin with \"You are\"", "q3"));
  EXPECT_EQ(statistics_.no_role, 1);
  EXPECT_EQ(statistics_.asked_again, 1);
  EXPECT_FALSE(json::parse(folder_.get("out.jsonl").substr(0, folder_.get("out.jsonl").find('\n'))).contains("role"));
  const json report = json::parse(folder_.get("report.jsonl"));
  EXPECT_EQ(report["outcome"], "no role");
  EXPECT_EQ(report["line"], 1);
  EXPECT_EQ(report["answers"].size(), 2U);
}

TEST_F(AnnotateRecords, AnswersInAnyOrderGiveTheSameFile) {
  annotate([](const ChatPrompt& prompt) { return "You are " + prompt.turns[0]; });
  const std::string expected = folder_.get("out.jsonl");
  config_.force = true;
  Annotation annotation(config_, annotator_);
  annotation.begin("m", "");
  const auto first = annotation.next(), second = annotation.next();
  EXPECT_FALSE(annotation.next());
  EXPECT_FALSE(annotation.is_done());
  annotation.take({second->number, "You are q3", {}, ""});
  annotation.take({first->number, "You are q1", {}, ""});
  EXPECT_TRUE(annotation.is_done());
  annotation.finish();
  EXPECT_EQ(folder_.get("out.jsonl"), expected);
}

TEST_F(AnnotateRecords, AnInterruptedOneGoesOnBetweenTheAttemptsOfARecord) {
  {
    Annotation annotation(config_, annotator_);
    annotation.begin("m", "");
    annotation.take({annotation.next()->number, "bad", {2, 3}, ""});
  }
  annotate([](const ChatPrompt& prompt) { return "You are " + prompt.turns[0]; });
  EXPECT_THAT(asked_, ElementsAre("it does not begin with \"You are\"", "q3"));
  EXPECT_EQ(statistics_.from_journal, 1);
  EXPECT_EQ(statistics_.usage.completion, 3 + 1 + 1);
}

TEST_F(AnnotateRecords, ARecordWithoutAnAnswerStaysWithoutARoleAndIsReported) {
  Annotation annotation(config_, annotator_);
  annotation.begin("m", "");
  annotation.take({annotation.next()->number, "", {}, "it is down"});
  annotation.take({annotation.next()->number, "You are", {}, ""});
  EXPECT_TRUE(annotation.is_done());
  annotation.finish();
  EXPECT_EQ(json::parse(folder_.get("report.jsonl"))["failure"], "it is down");
}

TEST_F(AnnotateRecords, WithoutAnyAnswerNothingIsWritten) {
  {
    Annotation annotation(config_, annotator_);
    annotation.begin("m", "");
    while (const auto prompt = annotation.next()) annotation.take({prompt->number, "", {}, "it is down"});
    EXPECT_THROW(annotation.finish(), Failure);
  }
  EXPECT_FALSE(std::filesystem::exists(config_.out));
}

TEST_F(AnnotateRecords, AnInputThatChangedMeanwhileIsAFailure) {
  Annotation annotation(config_, annotator_);
  annotation.begin("m", "");
  while (const auto prompt = annotation.next()) annotation.take({prompt->number, "You are", {}, ""});
  folder_.put("in.jsonl", folder_.get("in.jsonl") + "\n");
  EXPECT_THROW(annotation.finish(), Failure);
  EXPECT_FALSE(std::filesystem::exists(config_.out));
}

TEST_F(AnnotateRecords, Estimate_CountsWhatIsStillToBeAsked) {
  const Annotation all(config_, annotator_);
  EXPECT_EQ(all.estimate().completion, 2 * 9 * 4 / 3);
  config_.limit = 1;
  EXPECT_EQ(Annotation(config_, annotator_).estimate().completion, 9 * 4 / 3);
}

}  // namespace
}  // namespace spt
