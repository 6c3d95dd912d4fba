#include "base/durable.h"

#include <csignal>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

std::string failure_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Failure& error) {
    return error.what();
  }
  return "(no failure)";
}

// While it lives, files of this process cannot grow beyond `bytes`: a full disk as far as `write` can tell.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

class Durable : public testing::Test {
 protected:
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_.path()))
      names.push_back(entry.path().filename().string());
    return names;
  }
  TemporaryFolder folder_;
};

TEST_F(Durable, CommittedFileHoldsWhatWasWritten) {
  const std::string large(10 << 20, 'y');
  {
    DurableFile file(folder_ / "f");
    file.write("x\0z", 3);
    file.write("");
    file.write(large);
    file.commit();
  }
  EXPECT_EQ(folder_.get("f"), std::string("x\0z", 3) + large);
}

TEST_F(Durable, WithoutCommitNoFileIsLeft) {
  {
    DurableFile file(folder_ / "f");
    file.write("x");
    EXPECT_TRUE(fs::exists(folder_ / "f"));
  }
  EXPECT_THAT(names(), testing::IsEmpty());
}

TEST_F(Durable, AnExistingFileIsTruncated) {
  folder_.put("f", "a longer text");
  DurableFile file(folder_ / "f");
  file.write("x");
  file.commit();
  EXPECT_EQ(folder_.get("f"), "x");
}

TEST_F(Durable, WriteDurableReplacesTheFileAsAWhole) {
  write_durable(folder_ / "f", "one");
  EXPECT_EQ(folder_.get("f"), "one");
  write_durable(folder_ / "f", "two two");
  EXPECT_EQ(folder_.get("f"), "two two");
  EXPECT_THAT(names(), testing::ElementsAre("f"));
}

TEST_F(Durable, AFullDiskIsAFailureThatKeepsTheOldFile) {
  folder_.put("f", "old");
  const std::string large(1 << 20, 'x');
  std::string failure;
  {
    const FullDisk full(100'000);
    failure = failure_of([&] { write_durable(folder_ / "f", large); });
  }
  EXPECT_THAT(failure, AllOf(HasSubstr((folder_ / "f").string()), HasSubstr("writing failed: File too large")));
  EXPECT_EQ(folder_.get("f"), "old");
  EXPECT_THAT(names(), testing::ElementsAre("f"));
}

TEST_F(Durable, ADeviceWithoutSpaceIsAFailure) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  // Through a link, which the destructor removes in the device's stead.
  fs::create_symlink("/dev/full", folder_ / "f");
  EXPECT_THAT(failure_of([&] { DurableFile(folder_ / "f").write("x"); }),
              AllOf(HasSubstr((folder_ / "f").string()), HasSubstr("No space left on device")));
  EXPECT_THAT(names(), testing::IsEmpty());
}

TEST_F(Durable, ARenameThatFailsLeavesNoPartialFile) {
  fs::create_directories(folder_ / "f/inside");
  EXPECT_THAT(failure_of([&] { write_durable(folder_ / "f", "x"); }), HasSubstr("renaming to it failed"));
  EXPECT_THAT(names(), testing::ElementsAre("f"));
}

TEST_F(Durable, RenameMovesFilesAndFolders) {
  fs::create_directory(folder_ / "step-1.partial");
  folder_.put("step-1.partial/x", "1");
  rename_durable(folder_ / "step-1.partial", folder_ / "step-1");
  EXPECT_EQ(folder_.get("step-1/x"), "1");
  EXPECT_FALSE(fs::exists(folder_ / "step-1.partial"));
  EXPECT_THAT(failure_of([&] { rename_durable(folder_ / "none", folder_ / "x"); }), HasSubstr("No such file"));
}

TEST_F(Durable, AFolderThatIsMissingIsNamed) {
  EXPECT_THAT(failure_of([&] { write_durable(folder_ / "none/f", "x"); }),
              AllOf(HasSubstr("none/f"), HasSubstr("No such file")));
  EXPECT_THAT(failure_of([&] { sync_folder(folder_ / "none"); }), AllOf(HasSubstr("none"), HasSubstr("No such file")));
  folder_.put("file", "");
  EXPECT_THAT(failure_of([&] { sync_folder(folder_ / "file"); }), HasSubstr("Not a directory"));
}

}  // namespace
}  // namespace spt
