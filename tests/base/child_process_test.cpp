#include "base/child_process.h"

#include <cerrno>
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <sys/wait.h>

#include "base/error.h"

namespace spt {
namespace {

using std::chrono::seconds;

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

}  // namespace
}  // namespace spt
