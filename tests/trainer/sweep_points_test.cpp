#include "trainer/sweep_points.h"

#include <functional>

#include <gmock/gmock.h>

#include "data/config_file.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

SweepConfig sweep(const std::string& yaml) {
  return read_fields<SweepConfig>(parse_config_values("dir: runs/s\ntrain: t.yaml\n" + yaml, "s.yaml"));
}
std::vector<std::string> names(const std::string& yaml) {
  std::vector<std::string> found;
  for (const SweepPoint& point : expand_points(sweep(yaml))) found.push_back(point.name);
  return found;
}
std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const BadInput& error) {
    return error.what();
  }
  return "(no error)";
}
std::string sweep_error(const std::string& yaml) {
  return error_of([&] { expand_points(sweep(yaml)); });
}

TEST(SweepPoints, AreEverySeedAndCombinationAndPointInTheFilesOrder) {
  EXPECT_THAT(names("points:\n  role: {data.train: r.h5}\n  plain: {data.train: p.h5}\nseeds: [2, 1]\n"),
              ElementsAre("role_seed-2", "plain_seed-2", "role_seed-1", "plain_seed-1"));
  EXPECT_THAT(names("grid:\n  optimizer.lr: [1e-4, 1e-5]\n  train.epochs: [1, 2]\n"),
              ElementsAre("lr-1e-4_epochs-1", "lr-1e-4_epochs-2", "lr-1e-5_epochs-1", "lr-1e-5_epochs-2"));
  EXPECT_THAT(names("points: {a: {train.steps: 1}}\ngrid: {optimizer.lr: [1e-4]}\nseeds: [1]\n"),
              ElementsAre("a_lr-1e-4_seed-1"));
}

TEST(SweepPoints, GiveTheirValuesAsOverridesTheirOwnLast) {
  const auto points =
      expand_points(sweep("set: {train.epochs: 3, optimizer.betas: [0.9, 0.95]}\n"
                          "inputs: {data: '/some where'}\n"
                          "points: {role: {data.train: '{dir}/r.h5', data.valid: '{data}/v.h5'}}\n"
                          "grid: {optimizer.lr: [1e-4]}\nseeds: [7]\n"));
  ASSERT_EQ(points.size(), 1u);
  EXPECT_THAT(points[0].overrides,
              ElementsAre("train.epochs=3", "optimizer.betas=[0.9, 0.95]", "data.train=runs/s/r.h5",
                          "data.valid=\"/some where/v.h5\"", "optimizer.lr=1e-4", "run.seed=7"));
  EXPECT_EQ(points[0].of, "role");
  EXPECT_EQ(points[0].setting, "lr-1e-4");
  EXPECT_EQ(points[0].seed, 7u);
}

TEST(SweepPoints, NamesOfKeysThatEndAlikeAreWhole) {
  EXPECT_THAT(names("grid:\n  a.path: [x/y]\n  b.path: [z]\n"), ElementsAre("a.path-x-y_b.path-z"));
}

TEST(SweepPoints, DuplicatesAreRefused) {
  EXPECT_THAT(sweep_error("seeds: [1, 1]\n"), AllOf(HasSubstr("s.yaml:3"), HasSubstr("seeds has a seed twice")));
  EXPECT_THAT(sweep_error("grid: {optimizer.lr: [1, 1]}\n"), HasSubstr("grid.optimizer.lr has a value twice"));
  EXPECT_THAT(sweep_error("points: {a: {train.steps: 1}, b: {train.steps: 1}}\n"),
              HasSubstr("points a and b have the same values"));
  EXPECT_THAT(sweep_error("grid: {model.path: [a/b, a-b]}\n"), HasSubstr("two points would be called path-a-b"));
  EXPECT_THAT(sweep_error("points: {a: {train.steps: 1}}\ngrid: {train.steps: [1, 2]}\n"),
              HasSubstr("points.a.train.steps is varied by grid or seeds too"));
  EXPECT_THAT(sweep_error("points: {a: {run.seed: 1}}\nseeds: [1]\n"), HasSubstr("points.a.run.seed"));
  EXPECT_THAT(sweep_error("grid: {run.dir: [1]}\n"), HasSubstr("grid.run.dir"));
}

TEST(SweepPoints, WhatASweepCannotBeIsRefusedWithItsLine) {
  EXPECT_THAT(sweep_error("grids: {optimizer.lr: [1]}\n"), HasSubstr("s.yaml:3: unknown key grids.optimizer.lr"));
  EXPECT_THAT(error_of([] { read_fields<SweepConfig>({}); }),
              AllOf(HasSubstr("dir is missing"), HasSubstr("train is missing"), HasSubstr("nothing is varied")));
  EXPECT_THAT(sweep_error(""), HasSubstr("nothing is varied"));
  EXPECT_THAT(sweep_error("grid: {optimizer.lr: 1}\n"), AllOf(HasSubstr("s.yaml:3"), HasSubstr("takes a list")));
  EXPECT_THAT(sweep_error("points: {a/b: {train.steps: 1}}\n"), HasSubstr("points.a/b: a name is made of"));
  EXPECT_THAT(sweep_error("seeds: [1]\nranks: 0\n"), HasSubstr("s.yaml:4: ranks is 0, must be 1 to 100000"));
  EXPECT_THAT(sweep_error("seeds: [1]\nevaluations: {train: {config: e.yaml}}\n"), HasSubstr("evaluations.train"));
  EXPECT_THAT(sweep_error("seeds: [1]\nevaluations: {e: {set: {eval.limit: 1}}}\n"), HasSubstr("config is missing"));
  EXPECT_THAT(sweep_error("points: {a: {train.steps: 1}}\nevaluations: {e: {config: e.yaml}}\n"
                          "compare: {x: {a: a, b: c}}\n"),
              HasSubstr("compare.x.b is 'c', which is no name of points"));
  EXPECT_THAT(sweep_error("points: {a: {data.train: '{there}/r.h5'}}\n"),
              AllOf(HasSubstr("s.yaml:3"), HasSubstr("{there}"), HasSubstr("{dir}")));
  EXPECT_THAT(sweep_error("points: {a: {x: " + std::string(10, 'y') + "}}\ngrid: {data.train: [" +
                          std::string(200, 'z') + "]}\n"),
              HasSubstr("give its values a name in points"));
}

TEST(SweepPoints, CommandsTrainThenEvaluateTheLastCheckpointInTheFilesOrder) {
  const TemporaryFolder folder;
  SweepConfig config = sweep(
      "seeds: [1]\nevaluations:\n  second: {config: e.yaml, set: {eval.roles_from: '{point}/first'}}\n"
      "  first: {config: f.yaml}\n");
  config.dir = folder.path();
  const std::vector<SweepPoint> points = expand_points(config);
  const std::string run = (folder.path() / "seed-1").string();
  const auto commands = [&] { return point_commands(config, points[0]); };
  EXPECT_THAT(commands()[0].arguments, ElementsAre("train", "t.yaml", "run.seed=1", "run.dir=" + run));
  EXPECT_THAT(commands()[1].arguments,
              ElementsAre("eval", "e.yaml", "eval.roles_from=" + run + "/first",
                          "model.path=" + run + "/checkpoints/step-N/hf", "run.dir=" + run + "/second"));
  EXPECT_EQ(commands()[2].step, "first");
  for (const char* name : {"step-000009", "step-000010", "step-000011.partial"})
    std::filesystem::create_directories(folder.path() / "seed-1" / "checkpoints" / name);
  EXPECT_THAT(
      commands()[2].arguments,
      ElementsAre("eval", "f.yaml", "model.path=" + run + "/checkpoints/step-000010/hf", "run.dir=" + run + "/first"));
}

TEST(SweepPoints, EveryConfigurationIsReadBeforeAnythingStarts) {
  const TemporaryFolder folder;
  const auto check = [&](const std::string& yaml) {
    SweepConfig config = sweep(yaml);
    config.train = folder.put("t.yaml", "model: {path: m}\n");
    check_points(config, expand_points(config));
  };
  check("points: {a: {data.train: a.h5}}\n");
  EXPECT_THAT(error_of([&] { check("points: {a: {data.train: a.h5, optimizer.rl: 1}}\nseeds: [3]\n"); }),
              AllOf(HasSubstr("point a_seed-3, train: "), HasSubstr("unknown key optimizer.rl")));
  const std::string file = folder.put("e.yaml", "eval: {tasks: [gsm8k], limit: 0}\n").string();
  EXPECT_THAT(error_of([&] { check("points: {a: {data.train: a.h5}}\nevaluations: {e: {config: " + file + "}}\n"); }),
              AllOf(HasSubstr("point a, e: "), HasSubstr("eval.limit is 0")));
}

TEST(SweepPoints, LinesAreWordsWithNamesFilledIn) {
  const SweepConfig config = sweep("inputs: {data: /a b}\nseeds: [1, 2]\n");
  const std::vector<SweepPoint> points = expand_points(config);
  const auto words = [&](const std::string& line) { return command_words(config, points, line); };
  EXPECT_THAT(words("prepare  {data}/x --role-wording \"You are {{}}\" --out '{dir}/a b'"),
              ElementsAre("prepare", "/a b/x", "--role-wording", "You are {}", "--out", "runs/s/a b"));
  EXPECT_THAT(words("report {every}/eval"), ElementsAre("report", "runs/s/seed-1/eval", "runs/s/seed-2/eval"));
  EXPECT_THAT(error_of([&] { words("{every.other}"); }), HasSubstr("{every.other}"));
  EXPECT_THAT(error_of([&] { words("a 'b"); }), HasSubstr("a quote without its other"));
  EXPECT_THAT(error_of([&] { words("  "); }), HasSubstr("an empty command line"));
  EXPECT_THAT(outputs_of(words("prepare a --out b --valid-out c")), ElementsAre("b", "c"));
  EXPECT_THAT(error_of([&] { outputs_of(words("prepare a")); }), HasSubstr("has no --out"));
}

TEST(SweepPoints, LinesNameThePointsOfOneNameToo) {
  const SweepConfig config = sweep("points: {a: {train.steps: 1}, b: {train.steps: 2}}\nseeds: [1, 2]\n");
  EXPECT_THAT(command_words(config, expand_points(config), "report {every.a}/x --baseline {every.b}"),
              ElementsAre("report", "runs/s/a_seed-1/x", "runs/s/a_seed-2/x", "--baseline", "runs/s/b_seed-1",
                          "runs/s/b_seed-2"));
}

TEST(SweepPoints, TheStudyThatShipsIsSound) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(SPT_SOURCE_DIR);
  const SweepConfig config = load_sweep_config("configs/sweeps/spt_study.yaml", {"inputs.bench=/data/bench"});
  const std::vector<SweepPoint> points = expand_points(config);
  check_points(config, points);
  std::filesystem::current_path(before);
  std::vector<std::string> found;
  for (const SweepPoint& point : points) found.push_back(point.name);
  EXPECT_THAT(found, ElementsAre("role_seed-1", "plain_seed-1", "role_seed-2", "plain_seed-2"));
  EXPECT_THAT(point_commands(config, points[0])[1].arguments, Contains("eval.data.root=/data/bench"));
  EXPECT_THAT(outputs_of(command_words(config, points, config.prepare[1])), ElementsAre("runs/spt_study/role.h5"));
}

}  // namespace
}  // namespace spt
