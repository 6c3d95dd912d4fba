#include "trainer/sweep_state.h"

#include <gmock/gmock.h>

#include "base/read_file.h"
#include "data/config_file.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class SweepStateTest : public testing::Test {
 protected:
  SweepConfig config(const std::string& more = "") const {
    return read_fields<SweepConfig>(parse_config_values(
        "dir: " + folder_.path().string() + "\ntrain: " + (folder_.path() / "t.yaml").string() + "\n" +
            "points: {a: {train.steps: 1}, b: {train.steps: 2}}\nprepare: [prepare x --out y]\n" + more,
        "s.yaml"));
  }
  SweepState load(const std::string& more = "") const {
    const SweepConfig read = config(more);
    return load_sweep_state(read, expand_points(read));
  }
  void save(SweepState& state) const {
    for (const PointState& point : state.points) {
      std::filesystem::create_directories(point.folder);
      save_point(point);
    }
    save_sweep(folder_.path(), state);
  }
  void SetUp() override { folder_.put("t.yaml", "model: {path: m}\n"); }
  TemporaryFolder folder_;
};

TEST_F(SweepStateTest, WhatIsDoneStaysDoneAndWhatWasKilledIsStopped) {
  SweepState state = load();
  EXPECT_EQ(state.points[0].steps[0].status, StepStatus::kWaiting);
  state.points[0].steps[0].status = StepStatus::kDone;
  state.points[0].steps[0].seconds = 2.5;
  state.points[1].steps[0].status = StepStatus::kRunning;
  state.prepare[0].status = StepStatus::kDone;
  save(state);
  const SweepState again = load();
  EXPECT_TRUE(again.points[0].is_done());
  EXPECT_EQ(again.points[0].steps[0].seconds, 2.5);
  EXPECT_EQ(again.points[1].steps[0].status, StepStatus::kStopped);
  EXPECT_TRUE(again.prepare[0].is_done());
}

TEST_F(SweepStateTest, OtherValuesOrAnotherConfigurationHaveNoHistory) {
  SweepState state = load();
  for (PointState& point : state.points) point.steps[0].status = StepStatus::kDone;
  save(state);
  const SweepState other = load("set: {train.batch_examples: 3}\n");
  EXPECT_EQ(other.points[0].steps[0].status, StepStatus::kWaiting);
  folder_.put("t.yaml", "model: {path: n}\n");
  EXPECT_EQ(load().points[0].steps[0].status, StepStatus::kWaiting);
}

TEST_F(SweepStateTest, TheManifestNamesAllPoints) {
  SweepState state = load();
  state.head = {{"file", "s.yaml"}};
  save(state);
  const json manifest = json::parse(read_file(folder_.path() / "sweep.json"));
  EXPECT_EQ(manifest["format"], "spt-sweep");
  EXPECT_EQ(manifest["file"], "s.yaml");
  ASSERT_EQ(manifest["points"].size(), 2u);
  EXPECT_EQ(manifest["points"][1]["name"], "b");
  EXPECT_EQ(manifest["points"][1], json::parse(read_file(folder_.path() / "b" / "point.json")));
}

TEST_F(SweepStateTest, ADamagedFileIsNamed) {
  std::filesystem::create_directories(folder_ / "a");
  folder_.put("a/point.json", "{\"steps\": [{");
  try {
    load();
    FAIL();
  } catch (const BadInput& error) {
    EXPECT_THAT(error.what(), HasSubstr("a/point.json: is damaged"));
  }
  folder_.put("a/point.json", R"({"version": 99, "steps": []})");
  EXPECT_THROW(load(), BadInput);
}

}  // namespace
}  // namespace spt
