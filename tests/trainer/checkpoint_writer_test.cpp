#include "trainer/checkpoint_writer.h"

#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "data/safetensors.h"
#include "tests/temporary_folder.h"
#include "trainer/checkpoint_files.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// Each rank of the job writes into a folder of its own.
class Writer : public testing::TestWithParam<bool> {
 protected:
  Writer() : writer_(folder_.path(), GetParam()) { fs::create_directory(folder_ / "hf"); }

  const WrittenFiles& finish() {
    writer_.start();
    return writer_.written();
  }

  TemporaryFolder folder_;
  CheckpointWriter writer_;
};

at::Tensor read_floats(const fs::path& path, const std::string& name) {
  const SafetensorsReader reader(path);
  at::Tensor out = at::empty(reader.shape(name), at::kFloat);
  reader.read(name, -1, 0, 0, out);
  return out;
}

TEST_P(Writer, FilesAreThereWithTheFactsThatAreTold) {
  writer_.write("hf/config.json", "{}");
  writer_.begin("hf/a.safetensors", {{"x", at::kFloat, {2, 3}}, {"y", at::kFloat, {2}}}, {{"format", "pt"}});
  writer_.write(at::arange(6, at::kFloat).view({2, 3}));
  writer_.write(at::ones({2}));
  writer_.begin("none.safetensors", {}, {{"format", "pt"}});
  writer_.begin("b.safetensors", {{"x", at::kFloat, {1}}}, {});
  writer_.write(at::full({1}, 7, at::kFloat));
  const WrittenFiles& written = finish();
  EXPECT_EQ(written.failure, "");
  EXPECT_TRUE(writer_.is_finished());
  json there = json::object();
  for (const std::string& file : files_below(folder_.path())) there[file] = describe_file(folder_ / file);
  EXPECT_EQ(there.size(), 4);
  EXPECT_EQ(written.facts, there);
  EXPECT_EQ(folder_.get("hf/config.json"), "{}");
  EXPECT_TRUE(at::equal(read_floats(folder_ / "hf/a.safetensors", "x"), at::arange(6, at::kFloat).view({2, 3})));
  EXPECT_TRUE(at::equal(read_floats(folder_ / "b.safetensors", "x"), at::full({1}, 7, at::kFloat)));
}

TEST_P(Writer, WhatChangesAfterTheCall_IsWrittenAsItWas) {
  const at::Tensor flat = at::zeros({4}), alone = at::zeros({2});
  writer_.begin("a.safetensors", {{"view", at::kFloat, {2}}, {"whole", at::kFloat, {2}}, {"given", at::kFloat, {2}}},
                {});
  writer_.write(flat.narrow(0, 1, 2));
  writer_.write(alone);
  writer_.write(at::zeros({2}));
  flat.fill_(1);
  alone.fill_(1);
  EXPECT_EQ(finish().failure, "");
  for (const char* name : {"view", "whole", "given"})
    EXPECT_TRUE(at::equal(read_floats(folder_ / "a.safetensors", name), at::zeros({2}))) << name;
}

TEST_P(Writer, TheFirstFailureIsKept_AndWhatFollowsIsLeftOut) {
  fs::create_symlink("/dev/full", folder_ / "full.safetensors");
  writer_.write("hf/before", "x");
  writer_.begin("full.safetensors", {{"x", at::kFloat, {2}}}, {});
  EXPECT_NO_THROW(writer_.write(at::zeros({2})));
  EXPECT_NO_THROW(writer_.write("nowhere/after", "x"));
  EXPECT_NO_THROW(writer_.write("hf/after", "x"));
  const WrittenFiles& written = finish();
  EXPECT_THAT(written.failure, AllOf(HasSubstr("full.safetensors"), HasSubstr("No space left on device")));
  EXPECT_TRUE(writer_.is_finished());
  EXPECT_EQ(files_below(folder_.path()), std::vector<std::string>{"hf/before"});
}

TEST_P(Writer, AFolderThatVanished_IsAFailureWithItsName) {
  fs::remove(folder_ / "hf");
  writer_.write("hf/config.json", "{}");
  EXPECT_THAT(finish().failure, AllOf(HasSubstr("hf/config.json"), HasSubstr("No such file or directory")));
}

INSTANTIATE_TEST_SUITE_P(When, Writer, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "InTheBackground" : "AtOnce"; });

// A pipe that nobody reads is a disk that does not answer.
class SlowDisk : public testing::Test {
 protected:
  SlowDisk() : writer_(std::make_unique<CheckpointWriter>(folder_.path(), true)) {
    EXPECT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
    writer_->write("pipe", "x");
    writer_->start();
  }
  void answer() { EXPECT_EQ(folder_.get("pipe"), "x"); }

  TemporaryFolder folder_;
  std::unique_ptr<CheckpointWriter> writer_;
};

TEST_F(SlowDisk, IsWaitedForByWhoAsksForTheFilesAlone) {
  EXPECT_FALSE(writer_->is_finished());
  answer();
  EXPECT_THAT(writer_->written().failure, HasSubstr("pipe: syncing failed"));
  EXPECT_TRUE(writer_->is_finished());
}

TEST_F(SlowDisk, IsNotWaitedForByAJobThatEnds) {
  writer_.reset();
  answer();
}

}  // namespace
}  // namespace spt
