#include "base/child_process.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <sys/wait.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using std::chrono::seconds;

// Its status, once it has ended.
int end_of(BackgroundChild& child) {
  while (!child.status()) std::this_thread::yield();
  return *child.status();
}

TEST(ChildProcess, GivesInputAndTakesOutput) {
  const std::string text(300'000, 'x');  // more than pipes hold
  const ChildResult copied = run_child({"cat"}, text, false, seconds(60), text.size());
  EXPECT_EQ(copied.status, 0);
  EXPECT_EQ(copied.output, text);
  EXPECT_EQ(run_child({"cat"}, text, false, seconds(60), 5).output, "xxxxx");
  EXPECT_EQ(run_child({"sh", "-c", "echo out; echo err >&2; exit 3"}, "", false, seconds(60), 100).output, "out\n");
  const ChildResult both = run_child({"sh", "-c", "echo out; echo err >&2; exit 3"}, "", true, seconds(60), 100);
  EXPECT_EQ(both.output, "out\nerr\n");
  EXPECT_EQ(WEXITSTATUS(both.status), 3);
}

TEST(ChildProcess, EndsAtTheLimit) {
  const ChildResult late =
      run_child({"sh", "-c", "trap '' TERM; echo begun; exec sleep 100"}, "", false, seconds(1), 100);
  EXPECT_FALSE(late.in_time);
  EXPECT_EQ(late.output, "begun\n");
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(ChildProcess, AStatusThatNobodyKnowsIsNotZero) {
  std::signal(SIGCHLD, SIG_IGN);
  EXPECT_THROW(run_child({"false"}, "", false, seconds(60), 100), Failure);
  std::signal(SIGCHLD, SIG_DFL);
}

TEST(ChildProcess, AMissingProgramIsNamed) {
  try {
    run_child({"/nowhere/program"}, "", false, seconds(60), 100);
    FAIL();
  } catch (const Failure& error) {
    EXPECT_STREQ(error.what(), "starting /nowhere/program: No such file or directory");
  }
}

TEST(BackgroundChild, AppendsToItsLogAndTellsItsStatus) {
  const TemporaryFolder folder;
  folder.put("log", "before\n");
  BackgroundChild child({"sh", "-c", "echo $NEW $HOME; echo err >&2; cat; exit 3"}, {"NEW=1", "HOME=2"},
                        folder / "log");
  EXPECT_EQ(WEXITSTATUS(end_of(child)), 3);
  EXPECT_EQ(WEXITSTATUS(child.status().value()), 3) << "asked again";
  EXPECT_EQ(folder.get("log"), "before\n1 2\nerr\n");
}

TEST(BackgroundChild, IsSignalledInASessionOfItsOwnAndFoundByItsMark) {
  const TemporaryFolder folder;
  const std::string mark = "SPT_TEST_MARK=" + folder.path().string();
  BackgroundChild child({"sh", "-c", "sleep 1000 & wait"}, {mark + "/1"}, folder / "log");
  std::vector<MarkedProcess> found;
  while (found.size() < 2) found = marked_processes(mark);
  EXPECT_EQ(found.size(), 2u);
  EXPECT_EQ(std::count_if(found.begin(), found.end(), [](const auto& process) { return process.leads_session; }), 1);
  EXPECT_FALSE(child.status());
  child.signal(SIGUSR1);
  EXPECT_EQ(WTERMSIG(end_of(child)), SIGUSR1);
  for (const MarkedProcess& process : marked_processes(mark)) kill(process.pid, SIGKILL);
  while (!marked_processes(mark).empty()) std::this_thread::yield();
}

TEST(BackgroundChild, EndsWithItsOwner) {
  const TemporaryFolder folder;
  const std::string mark = "SPT_TEST_MARK=" + folder.path().string();
  { const BackgroundChild child({"sleep", "1000"}, {mark}, folder / "log"); }
  EXPECT_TRUE(marked_processes(mark).empty());
  EXPECT_THROW(BackgroundChild({"/nowhere/program"}, {}, folder / "log"), Failure);
  EXPECT_THROW(BackgroundChild({"true"}, {}, folder / "no" / "log"), Failure);
}

}  // namespace
}  // namespace spt
