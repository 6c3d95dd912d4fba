#include "trainer/checkpoint.h"

#include <fstream>
#include <map>

#include <gmock/gmock.h>

#include "tests/trainer/messages.h"
#include "tests/trainer/shared_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

void put(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

// Every rank writes one file, as the optimizer's state is, and the last one first `also`.
void save(const CheckpointStore& store, int64_t step, const std::string& also = "") {
  const int rank = job().rank();
  ASSERT_TRUE(store.begin(step));
  CheckpointWriter writer(store.partial_path(step), step % 2 == 0);
  if (rank == job().size() - 1 && !also.empty()) writer.write(also, "x");
  if (rank == 0) writer.write("hf/config.json", "{}");
  writer.write("optimizer/part-" + std::to_string(rank), std::string(10, 'x'));
  writer.start();
  store.commit(step, writer.written());
}

TEST(CheckpointStore, Commit_MakesAFolderThatIsTheNewestAndWhole) {
  const SharedFolder folder;
  const CheckpointStore store(folder / "checkpoints", job().host_world());
  EXPECT_EQ(store.newest(), std::nullopt);
  EXPECT_EQ(store.newest_whole(), std::nullopt);
  save(store, 7);
  save(store, 12);
  EXPECT_EQ(store.newest(), 12);
  EXPECT_EQ(store.newest_whole(), 12);
  EXPECT_EQ(store.fault(7), "");
  EXPECT_EQ(store.path(7).filename(), "step-000007");
  for (int rank = 0; rank < job().size(); ++rank)
    EXPECT_TRUE(fs::exists(store.path(7) / "optimizer" / ("part-" + std::to_string(rank))));
}

TEST(CheckpointStore, Begin_LeavesAnExistingCheckpointAlone) {
  const SharedFolder folder;
  const CheckpointStore store(folder / "checkpoints", job().host_world());
  save(store, 7);
  EXPECT_FALSE(store.begin(7));
  EXPECT_FALSE(fs::exists(store.partial_path(7)));
  EXPECT_EQ(store.fault(7), "");
}

TEST(CheckpointStore, AFailureOnOneRank_IsThrownOnAll_AndTheStepCanBeSavedAgain) {
  const SharedFolder folder;
  const CheckpointStore store(folder / "checkpoints", job().host_world());
  save(store, 3);
  for (const int64_t step : {4, 5})
    EXPECT_THAT(message_of<NotSaved>([&] { save(store, step, "nowhere/x"); }),
                AllOf(HasSubstr(".partial/nowhere/x"), HasSubstr("No such file or directory")));
  EXPECT_FALSE(fs::exists(store.partial_path(5)));
  EXPECT_EQ(store.newest(), 3);
  EXPECT_EQ(store.fault(3), "");
  save(store, 5);
  EXPECT_EQ(store.newest_whole(), 5);
}

TEST(CheckpointStore, WhatCannotBeMade_IsThrownOnAll) {
  const SharedFolder folder;
  if (job().rank() == 0) put(folder / "file", "");
  job().host_world().barrier();
  const CheckpointStore store(folder / "file", job().host_world());
  EXPECT_THAT(message_of<NotSaved>([&] { store.begin(1); }),
              AllOf(HasSubstr("step-000001.partial"), HasSubstr("cannot be made")));
}

TEST(CheckpointStore, ABadOne_IsSetAsideByAllAndTheOneBeforeIsUsed) {
  const SharedFolder folder;
  const CheckpointStore store(folder / "checkpoints", job().host_world());
  for (const int64_t step : {2, 9, 10, 11}) save(store, step);
  if (job().rank() == 0) {
    put(store.path(9) / "hf" / "config.json", "[]");
    fs::remove(store.path(10) / "optimizer" / "part-0");
    fs::remove(store.path(11) / "progress.json");
  }
  job().host_world().barrier();
  EXPECT_EQ(store.newest_whole(), 2);
  for (const int64_t step : {9, 10, 11}) {
    EXPECT_FALSE(fs::exists(store.path(step)));
    EXPECT_TRUE(fs::exists(store.path(step).string() + ".bad"));
  }
  job().host_world().barrier();
  save(store, 9);
  EXPECT_EQ(store.newest_whole(), 9);
}

TEST(CheckpointStore, Prune_KeepsTheNewest) {
  const SharedFolder folder;
  Communicator& host = job().host_world();
  const CheckpointStore store(folder / "checkpoints", host);
  for (const int64_t step : {2, 9, 10, 100}) save(store, step);
  store.prune(2);
  EXPECT_FALSE(fs::exists(store.path(2)));
  EXPECT_FALSE(fs::exists(store.path(9)));
  EXPECT_EQ(store.fault(10), "");
  EXPECT_EQ(store.fault(100), "");
  host.barrier();
  store.prune(5);
  EXPECT_TRUE(fs::exists(store.path(10)));
}

// With no older one. A rank that throws would leave the others waiting, so each rank has a store of its own here.
class OneCheckpoint : public testing::Test {
 protected:
  OneCheckpoint() : self_(job().host_world().split(job().rank(), 0)), store_(folder_ / "checkpoints", *self_) {
    write(3, {{"hf/model.safetensors", "weights"}, {"optimizer/part", "moments"}});
  }
  void write(int64_t step, const std::map<std::string, std::string>& files) const {
    store_.begin(step);
    CheckpointWriter writer(store_.partial_path(step), true);
    for (const auto& [name, text] : files) writer.write(name, text);
    writer.start();
    store_.commit(step, writer.written());
  }
  std::string refusal() const {
    return bad_input_of([&] { store_.newest_whole(); });
  }
  void change_progress(const std::string& from, const std::string& to) const {
    const fs::path path = store_.path(3) / "progress.json";
    std::ifstream in(path);
    std::string text(std::istreambuf_iterator<char>(in), {});
    ASSERT_NE(text.find(from), std::string::npos) << text;
    put(path, text.replace(text.find(from), from.size(), to));
  }

  TemporaryFolder folder_;
  std::unique_ptr<Communicator> self_;
  CheckpointStore store_;
};

TEST_F(OneCheckpoint, Untouched_IsWhole) {
  EXPECT_EQ(refusal(), "nothing was thrown");
}

TEST_F(OneCheckpoint, WithAMissingFile_IsRefusedByName) {
  fs::remove(store_.path(3) / "optimizer" / "part");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("step-000003/optimizer/part: missing"), HasSubstr("remove the folder")));
}

TEST_F(OneCheckpoint, WithAnExtraFile_IsRefusedByName) {
  put(store_.path(3) / "hf" / "notes.txt", "mine");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("step-000003/hf/notes.txt: an extra file"), HasSubstr("remove the file")));
}

TEST_F(OneCheckpoint, WithAFileOfOtherContentOrLength_IsRefusedByName) {
  for (const char* text : {"weightS", "weights and more", ""}) {
    put(store_.path(3) / "hf" / "model.safetensors", text);
    EXPECT_THAT(refusal(),
                AllOf(HasSubstr("step-000003/hf/model.safetensors: changed"), HasSubstr("remove the folder")))
        << text;
  }
}

TEST_F(OneCheckpoint, WithoutItsListOfFiles_IsRefused) {
  fs::remove(store_.path(3) / "progress.json");
  EXPECT_THAT(refusal(), HasSubstr("progress.json: missing or broken"));
}

TEST_F(OneCheckpoint, OfANewerVersionOrAnotherStep_IsRefused) {
  change_progress("\"version\": 1", "\"version\": 2");
  EXPECT_THAT(refusal(), HasSubstr("version 2 is newer than this program knows (1)"));
  change_progress("\"version\": 2", "\"version\": 1");
  change_progress("\"step\": 3", "\"step\": 4");
  EXPECT_THAT(refusal(), HasSubstr("says step 4, the folder's name says 3"));
}

TEST_F(OneCheckpoint, UnfinishedAndForeignFolders_AreNeverTheNewest) {
  for (const char* name : {"step-000009.partial", "step-000010.deleting", "step-", "step-11x", "other"})
    fs::create_directory(store_.path(3).parent_path() / name);
  EXPECT_EQ(store_.newest(), 3);
  store_.prune(1);
  EXPECT_TRUE(fs::exists(store_.path(3)));
  write(4, {{"hf/x", "y"}});
  EXPECT_FALSE(fs::exists(store_.path(9).string() + ".partial")) << "left by a run that was killed";
  EXPECT_FALSE(fs::exists(store_.path(10).string() + ".deleting"));
  EXPECT_EQ(store_.newest(), 4);
}

TEST_F(OneCheckpoint, AFileThatVanishedBeforeTheCommit_IsAFailureThatNamesIt) {
  ASSERT_TRUE(store_.begin(5));
  CheckpointWriter writer(store_.partial_path(5), false);
  writer.write("hf/x", "y");
  writer.start();
  fs::remove(store_.partial_path(5) / "hf" / "x");
  EXPECT_THAT(message_of<NotSaved>([&] { store_.commit(5, writer.written()); }), HasSubstr("step-000005.partial/hf/x"));
  EXPECT_EQ(store_.newest(), 3);
  EXPECT_EQ(refusal(), "nothing was thrown");
}

}  // namespace
}  // namespace spt
