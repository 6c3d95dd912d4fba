#include "trainer/report.h"

#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/temporary_folder.h"
#include "tests/trainer/messages.h"
#include "trainer/report_warnings.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

TEST(ExpertOf, IsWhatStandsBehindYouAre) {
  for (const auto& [role, expert] : std::vector<std::pair<std::string, std::string>>{
           {"You are a marine biologist who studies reefs. Answer.", "marine biologist"},
           {"You are an expert in Probability, with time.", "expert in probability"},
           {"You are the Head of a school.", "head of a school"},
           {"You are experienced. Go on.", "experienced"},
           {"You are a physicist (of plasma).", "physicist"},
           {"You are a Ph.D. student in logic tasked with proofs", "ph.d"},
           {"You are a node.js developer that types", "node.js developer"},
           {"You are a one two three four five six seven eight nine", "one two three four five six seven eight"},
           {"You are a teacher\nof mine", "teacher"},
           {"You are an a", "a"},
           {"You are who?", ""},
           {"You are", ""},
           {"I am a teacher", ""}})
    EXPECT_EQ(expert_of(role), expert) << role;
}

AnsweredSample answered(const std::optional<std::string>& role, const std::optional<std::string>& extracted, bool cut) {
  AnsweredSample sample;
  sample.answer = "text";
  sample.role = role;
  sample.asks_for_extraction = true;
  sample.extracted = extracted;
  sample.cut = cut;
  return sample;
}

TEST(RoleStatistics, CountRolesOfTheModelsOwn) {
  RoleStatistics roles;
  roles.add(answered("You are a tutor who helps.", "7", false));
  roles.add(answered("You are a tutor.", std::nullopt, true));
  roles.add(answered("You are a cook.", "7", false));
  roles.add(answered(std::nullopt, "7", false));
  AnsweredSample given = answered("You are an expert.", "7", false);
  given.role_is_given = true;
  roles.add(given);
  roles.add(AnsweredSample());  // options that were scored
  EXPECT_EQ(roles.answers, 5);
  EXPECT_EQ(roles.with_role, 3);
  EXPECT_EQ(roles.given, 1);
  EXPECT_EQ(roles.nothing_extracted, 1);
  EXPECT_EQ(roles.cut, 1);
  EXPECT_THAT(roles.words, ElementsAre(6, 4, 4));
  EXPECT_THAT(top_experts(roles, 5), ElementsAre(Pair("tutor", 2), Pair("cook", 1)));
  EXPECT_THAT(top_experts(roles, 1), SizeIs(1));
}

TEST(Scores, HaveNoIntervalWhereResamplesTellNothing) {
  const TaskResult result = {.metric = "exact_match", .shots = 0, .n = 3};
  const auto score = [&](const std::vector<double>& scores) {
    std::vector<PairedItem> items;
    for (size_t i = 0; i < scores.size(); ++i) items.push_back({std::to_string(i), std::nullopt, scores[i], 0});
    return score_task("t", result, items, {200, 1});
  };
  EXPECT_FALSE(score({1, 1, 1}).interval);
  EXPECT_FALSE(score({1}).interval);
  EXPECT_EQ(score({1}).value, 1);
  const TaskScore mixed = score({1, 0, 1, 0});
  ASSERT_TRUE(mixed.interval);
  EXPECT_LT(mixed.interval->low, 0.5);
  EXPECT_GT(mixed.interval->high, 0.5);
  EXPECT_FALSE(mean_score({mixed}));
  EXPECT_EQ(mean_score({mixed, score({1, 1})})->value, 0.75);
}

TEST(Thinned, KeepsPeaksMeasuredLossesAndEnds) {
  std::vector<MetricsRow> rows(1000);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].step = static_cast<int64_t>(i + 1);
  rows[333].loss = 9;
  rows[444].grad_norm = std::numeric_limits<double>::quiet_NaN();
  rows[555].valid_loss = 2;
  std::vector<int64_t> steps;
  for (const MetricsRow& row : thinned(rows, 60)) steps.push_back(row.step);
  EXPECT_LE(steps.size(), 65U);
  for (const int64_t step : {1, 334, 445, 556, 1000}) EXPECT_THAT(steps, testing::Contains(step));
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
  EXPECT_EQ(thinned(rows, 1000).size(), 1000U);
}

class ReportOf : public testing::Test {
 protected:
  fs::path put(const fs::path& path, const std::string& text) const {
    fs::create_directories((folder_.path() / path).parent_path());
    return folder_.put(path.string(), text);
  }
  // A run with its configuration and one row.
  fs::path run(const std::string& name, const std::string& lr, int64_t seed) const {
    put(name + "/config.yaml", fmt::format("run: {{dir: {}, seed: {}}}\noptimizer: {{lr: {}}}\n", name, seed, lr));
    put(name + "/manifest.json", R"({"steps": 1, "ranks": []})");
    put(name + "/metrics.jsonl",
        R"({"step": 1, "epoch": 1, "loss": 2, "grad_norm": 1, "lr": 1, "trained_tokens": 1, "tokens": 1, "seconds": 1,)"
        R"( "data_seconds": 0, "tokens_per_second": 1, "memory_bytes": 1})"
        "\n");
    return folder_.path() / name;
  }
  fs::path evaluation(const std::string& name, const std::string& scores, const std::string& prompt = "why?") const {
    put(name + "/results.json",
        fmt::format(R"({{"model": "m", "tasks": {{"t": {{"metric": "exact_match", "n": {}}}}}}})", scores.size()));
    std::string lines;
    for (size_t i = 0; i < scores.size(); ++i)
      lines +=
          fmt::format(
              R"({{"id": "q{}", "prompt": "{}", "answer": "x", "role": null, "extracted": null, "gold": "1", "score": {}}})",
              i, prompt, scores[i]) +
          "\n";
    put(name + "/samples/t.jsonl", lines);
    return folder_.path() / name;
  }
  Report report(const std::vector<fs::path>& runs, const std::vector<fs::path>& baseline = {}) const {
    return collect_report({runs, baseline, {}, {200, 1}});
  }
  TemporaryFolder folder_;
};

TEST_F(ReportOf, RunsHaveAsFewFoldersInTheirNamesAsTellThemApart) {
  const Report found = report({run("x/role", "1e-5", 1), run("y/role", "1e-5", 1) / ".", run("plain", "1e-5", 1)});
  std::vector<std::string> names;
  for (const ReportRun& r : found.runs) names.push_back(r.name);
  EXPECT_THAT(names, ElementsAre("x/role", "y/role", HasSubstr("/plain")));
}

TEST_F(ReportOf, SeedsAreRunsOfOneConfiguration) {
  const Report found = report({run("a", "1e-5", 1), run("b", "1e-5", 2), run("c", "2e-5", 1)});
  EXPECT_THAT(found.arms, ElementsAre(0, 0, 1));
  EXPECT_THAT(differing_keys(found.runs), ElementsAre("optimizer.lr", "run.dir", "run.seed"));
  EXPECT_THAT(found.warnings, ElementsAre(HasSubstr("more than their corpora and seeds: optimizer.lr")));
}

TEST_F(ReportOf, ComparisonsAreThoseOfCompare) {
  const fs::path a = evaluation("a", "110101"), b = evaluation("b", "100001");
  const Report found = report({a, b});
  ASSERT_THAT(found.comparisons, SizeIs(1));
  const Comparison expected = compare({{a}, {b}, {}, {200, 1}});
  const PairComparison &ours = found.comparisons[0].found.tasks[0].pairs[0], &theirs = expected.tasks[0].pairs[0];
  EXPECT_EQ(ours.difference.low, theirs.difference.low);
  EXPECT_EQ(ours.difference.p, theirs.difference.p);
  EXPECT_EQ(found.evaluations[0].scores[0].value, theirs.a);
  EXPECT_EQ(found.comparisons[0].a, "a");
}

TEST_F(ReportOf, EvaluationsOfSeveralFoldersNeedOneNameInCommon) {
  const fs::path a = run("a", "1e-5", 1), b = run("b", "1e-5", 1);
  for (const char* name : {"a/eval", "a/eval-none", "b/eval-none", "b/other"}) evaluation(name, "1010");
  const Report found = report({a, b});
  ASSERT_THAT(found.comparisons, SizeIs(1));
  EXPECT_EQ(found.comparisons[0].a, "a/eval-none");
  fs::rename(b / "eval-none", b / "third");
  EXPECT_THAT(bad_input_of([&] { report({a, b}); }), HasSubstr("no evaluation in a folder of the same name"));
}

TEST_F(ReportOf, OtherItemsAreRefused) {
  EXPECT_THAT(bad_input_of([&] {
                report({evaluation("a", "11"), evaluation("b", "10", "how?")});
              }),
              testing::AllOf(HasSubstr("another prompt"), HasSubstr("a/samples/t.jsonl:1")));
}

TEST_F(ReportOf, JudgementsAreFoundBelowTheEvaluation) {
  const fs::path a = evaluation("a", "1010");
  EXPECT_THAT(report({a}).judgements, IsEmpty());
  const std::string shares =
      R"("n": 4, "win": {"count": 2, "share": 0.5, "low": 0.1, "high": 0.9}, "tie": {"count": 1, "share": 0.25, "low": 0, "high": 0.6}, )"
      R"("lose": {"count": 1, "share": 0.25, "low": 0, "high": 0.6})";
  put("a/judge/x/judgement.json",
      fmt::format(
          R"({{"format": "spt-judgement", "version": 1, "a": "a", "b": "b", "judge": {{"model": "m", "checkpoint": "c"}}, )"
          R"("tasks": {{"open": {{{}, "position_bias": {{"first": 0.25, "second": 0.5}}, "length_matched": {{{}}}}}}}}})",
          shares, shares));
  const std::vector<ReportJudgement> found = report({a}).judgements;
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].judge, "m");
  EXPECT_EQ(found[0].place, "c");
  ASSERT_THAT(found[0].tasks, SizeIs(1));
  EXPECT_EQ(found[0].tasks[0].all.win.share, 0.5);
  EXPECT_EQ(found[0].tasks[0].second, 0.5);
  EXPECT_TRUE(found[0].tasks[0].length_matched);
}

}  // namespace
}  // namespace spt
