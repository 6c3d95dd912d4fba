#include "trainer/run_lock.h"

#include <chrono>
#include <optional>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/temporary_folder.h"
#include "tests/trainer/messages.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

class RunLockFile : public testing::Test {
 protected:
  // A lock of a process on another machine, last touched so long ago.
  void put_foreign_lock(seconds ago) const {
    folder_.put(
        "run.lock",
        json({{"host", "elsewhere"}, {"pid", 7}, {"job", "42"}, {"pid_space", "other"}, {"token", "t"}}).dump());
    fs::last_write_time(path(), fs::file_time_type::clock::now() - ago);
  }
  fs::path path() const { return folder_ / "run.lock"; }
  std::string token() const { return json::parse(folder_.get("run.lock")).at("token"); }

  TemporaryFolder folder_;
};

TEST_F(RunLockFile, IsThereWhileItIsHeldAndNamesItsHolder) {
  {
    const RunLock lock(folder_.path());
    EXPECT_EQ(json::parse(folder_.get("run.lock")).at("pid"), getpid());
    EXPECT_NO_THROW(lock.require_held());
    EXPECT_THAT(bad_input_of([&] { const RunLock second(folder_.path()); }),
                AllOf(HasSubstr("in use by"), HasSubstr("pid " + std::to_string(getpid()))));
  }
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(RunLockFile, OfAnotherMachine_IsTakenOverAfterAMinuteOfSilence) {
  put_foreign_lock(seconds(55));
  EXPECT_THAT(bad_input_of([&] { const RunLock lock(folder_.path()); }),
              HasSubstr("in use by host elsewhere, pid 7, job 42"));
  EXPECT_EQ(token(), "t") << "a refused start leaves it as it is";
  put_foreign_lock(seconds(61));
  const RunLock lock(folder_.path());
  EXPECT_NE(token(), "t");
}

TEST_F(RunLockFile, OfThisJobBeforeItWasRequeued_IsTakenOverAtOnce) {
  setenv("SLURM_JOB_ID", "42", 1);
  setenv("SLURM_RESTART_COUNT", "1", 1);
  put_foreign_lock(seconds(0));
  { const RunLock lock(folder_.path()); }
  setenv("SLURM_JOB_ID", "43", 1);
  put_foreign_lock(seconds(0));
  EXPECT_THROW(const RunLock lock(folder_.path()), BadInput) << "another job's";
  setenv("SLURM_JOB_ID", "42", 1);
  unsetenv("SLURM_RESTART_COUNT");
  EXPECT_THROW(const RunLock lock(folder_.path()), BadInput) << "another step of this job";
  unsetenv("SLURM_JOB_ID");
}

TEST_F(RunLockFile, TakenOverByAnotherRun_IsNotRemoved) {
  std::optional<RunLock> lock(folder_.path());
  put_foreign_lock(seconds(0));
  lock.reset();
  EXPECT_EQ(token(), "t");
}

TEST_F(RunLockFile, ThatCannotBeMade_IsAFailure) {
  fs::create_symlink("nowhere", path());
  EXPECT_THROW(const RunLock lock(folder_.path()), Failure);
  EXPECT_THROW(const RunLock lock(folder_ / "none"), Failure);
}

}  // namespace
}  // namespace spt
