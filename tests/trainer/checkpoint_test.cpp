#include "trainer/checkpoint.h"

#include <fstream>

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

// Every rank writes one file, as the optimizer's state is.
void write_files(const fs::path& partial) {
  const int rank = job().rank();
  if (rank == 0) put(partial / "hf" / "config.json", "{}");
  put(partial / "optimizer" / ("part-" + std::to_string(rank)), std::string(10, 'x'));
}

TEST(CheckpointStore, Save_MakesAFolderThatIsTheNewestAndVerifies) {
  const SharedFolder folder;
  const CheckpointStore store(folder / "checkpoints", job().host_world());
  EXPECT_EQ(store.newest(), std::nullopt);
  store.save(7, write_files);
  store.save(12, write_files);
  EXPECT_EQ(store.newest(), 12);
  EXPECT_NO_THROW(store.verify(7));
  EXPECT_NO_THROW(store.verify(12));
  EXPECT_EQ(store.path(7).filename(), "step-000007");
  for (int rank = 0; rank < job().size(); ++rank)
    EXPECT_TRUE(fs::exists(store.path(7) / "optimizer" / ("part-" + std::to_string(rank))));
}

TEST(CheckpointStore, Save_LeavesAnExistingCheckpointAlone) {
  const SharedFolder folder;
  const CheckpointStore store(folder / "checkpoints", job().host_world());
  store.save(7, write_files);
  store.save(7, [](const fs::path&) { ADD_FAILURE() << "written again"; });
  EXPECT_NO_THROW(store.verify(7));
}

TEST(CheckpointStore, Prune_KeepsTheNewest) {
  const SharedFolder folder;
  Communicator& host = job().host_world();
  const CheckpointStore store(folder / "checkpoints", host);
  for (const int64_t step : {2, 9, 10, 100}) store.save(step, write_files);
  store.prune(2);
  EXPECT_FALSE(fs::exists(store.path(2)));
  EXPECT_FALSE(fs::exists(store.path(9)));
  EXPECT_NO_THROW(store.verify(10));
  EXPECT_NO_THROW(store.verify(100));
  host.barrier();
  store.prune(5);
  EXPECT_TRUE(fs::exists(store.path(10)));
}

// A rank that throws would leave the others waiting, so each rank has a store of its own here.
class OneCheckpoint : public testing::Test {
 protected:
  OneCheckpoint() : self_(job().host_world().split(job().rank(), 0)), store_(folder_ / "checkpoints", *self_) {
    store_.save(3, [](const fs::path& partial) {
      put(partial / "hf" / "model.safetensors", "weights");
      put(partial / "optimizer" / "part", "moments");
    });
  }
  std::string refusal() const {
    return bad_input_of([&] { store_.verify(3); });
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

TEST_F(OneCheckpoint, Untouched_Verifies) {
  EXPECT_EQ(refusal(), "nothing was thrown");
}

TEST_F(OneCheckpoint, WithAMissingFile_IsRefusedByName) {
  fs::remove(store_.path(3) / "optimizer" / "part");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("step-000003/optimizer/part: missing"), HasSubstr("remove the folder")));
}

TEST_F(OneCheckpoint, WithAnExtraFile_IsRefusedByName) {
  put(store_.path(3) / "hf" / "notes.txt", "mine");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("step-000003/hf/notes.txt: an extra file"), HasSubstr("remove the folder")));
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
  store_.save(4, [](const fs::path& partial) { put(partial / "hf" / "x", "y"); });
  EXPECT_FALSE(fs::exists(store_.path(9).string() + ".partial")) << "left by a run that was killed";
  EXPECT_FALSE(fs::exists(store_.path(10).string() + ".deleting"));
  EXPECT_EQ(store_.newest(), 4);
}

TEST_F(OneCheckpoint, AfterAFailedSave_TheOlderOneIsStillTheNewestAndWhole) {
  EXPECT_THROW(store_.save(5,
                           [](const fs::path& partial) {
                             put(partial / "hf" / "x", "half");
                             throw Failure("disk full");
                           }),
               Failure);
  EXPECT_EQ(store_.newest(), 3);
  EXPECT_EQ(refusal(), "nothing was thrown");
}

}  // namespace
}  // namespace spt
