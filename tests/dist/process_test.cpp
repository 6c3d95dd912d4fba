// How whole jobs end: exit status, messages and time, as the launcher and the user see them.
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "tests/temporary_folder.h"

namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kMessage = "x.yaml:3: optimizer.lr is -1, expected a positive number";

struct Ended {
  int status = -1;
  double seconds = 1e9;            // from "happened at" to the end
  double last_rank_seconds = 1e9;  // to the last "rank ended at"
  std::string output;

  int count(const std::string& text) const {
    int found = 0;
    for (size_t at = output.find(text); at != std::string::npos; at = output.find(text, at + 1)) ++found;
    return found;
  }
};

// `notes` holds a file notes that the command's processes write to; its text counts as output. (A launcher that ends a
// job may lose the last of what its ranks print.)
Ended run(const std::string& command, const spt::TemporaryFolder* notes = nullptr) {
  Ended ended;
  FILE* pipe = popen(("timeout 60 " + command + " 2>&1").c_str(), "r");
  char buffer[4096];
  for (size_t size = 0; (size = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) ended.output.append(buffer, size);
  const int status = pclose(pipe);
  if (notes != nullptr) ended.output += notes->get("notes");
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  const auto time_after = [&](const std::string& mark) {
    const size_t at = ended.output.rfind(mark);
    return at == std::string::npos ? -1e9 : std::stod(ended.output.substr(at + mark.size()));
  };
  const double start = time_after("happened at ");
  ended.seconds = now.count() - start;
  if (ended.count("rank ended at ") > 0) ended.last_rank_seconds = time_after("rank ended at ") - start;
  return ended;
}

Ended run_ranks(int ranks, const std::string& scenario, const std::string& options = "") {
  return run(fmt::format("{} -n {} --oversubscribe --bind-to none {} {} {}", SPT_MPIEXEC, ranks, options,
                         SPT_DIST_SCENARIO, scenario));
}

TEST(Job, ThatIsDone_ReturnsZero) {
  const Ended ended = run_ranks(3, "done");
  EXPECT_EQ(ended.status, 0) << ended.output;
}

TEST(Job, ThatIsStopped_Returns75) {
  EXPECT_EQ(run_ranks(2, "stopped").status, 75);
}

TEST(Job, WithBadInputOnAllRanks_SaysItOnceAndReturnsOne) {
  const Ended ended = run_ranks(4, "bad_input_on_all");
  EXPECT_EQ(ended.status, 1);
  EXPECT_EQ(ended.count(kMessage), 1) << ended.output;
  EXPECT_LT(ended.seconds, 5);
}

TEST(Job, WithBadInputOnOneRank_EndsTheOthersInTheirCollective) {
  const Ended ended = run_ranks(4, "bad_input_on_last");
  EXPECT_EQ(ended.status, 1);
  EXPECT_EQ(ended.count(kMessage), 1) << ended.output;
  EXPECT_THAT(ended.output, ContainsRegex("seen by rank 3@"));
  EXPECT_LT(ended.seconds, 5);
}

TEST(Job, WithBadInputOnAllRanksButTheFirst_SaysItOnce) {
  const Ended ended = run_ranks(4, "bad_input_on_all_but_first");
  EXPECT_EQ(ended.status, 1);
  EXPECT_EQ(ended.count(kMessage), 1) << ended.output;
  EXPECT_LT(ended.seconds, 5);
}

// mpirun's own patience (it sleeps before it kills, even when all ranks are gone) and a held SIGTERM must not matter:
// the ranks end by themselves.
TEST(Job, WithBadInput_EndsItsRanksWithoutTheLaunchersHelp) {
  for (const std::string scenario : {"bad_input_while_sigterm_is_held", "bad_input_after_others_are_done"}) {
    const spt::TemporaryFolder folder;
    const Ended ended = run(
        fmt::format(
            "{} -n 3 --oversubscribe --bind-to none --mca odls_base_sigkill_timeout 4 sh -c 'trap \"\" TERM; {} {}; "
            "status=$?; echo rank ended at $(date +%s.%N) >>{}; exit $status'",
            SPT_MPIEXEC, SPT_DIST_SCENARIO, scenario, folder.put("notes", "").string()),
        &folder);
    EXPECT_EQ(ended.status, 1) << scenario;
    EXPECT_EQ(ended.count(kMessage), 1) << ended.output;
    EXPECT_EQ(ended.count("rank ended at "), 3) << ended.output;
    EXPECT_LT(ended.last_rank_seconds, 3.5) << scenario;
  }
}

TEST(Job, WithATpThatDoesNotFit_NamesThePossibleValuesOnce) {
  const Ended ended = run_ranks(4, "bad_mesh");
  EXPECT_EQ(ended.status, 1);
  EXPECT_EQ(ended.count("possible: 1, 2, 4"), 1) << ended.output;
  EXPECT_LT(ended.seconds, 5);
}

TEST(Job, WithAFailureOnOneRank_NamesRankAndHostAndReturnsTwo) {
  const Ended ended = run_ranks(3, "failure_on_one");
  EXPECT_EQ(ended.status, 2);
  EXPECT_EQ(ended.count("the disk is full"), 1) << ended.output;
  EXPECT_THAT(ended.output, ContainsRegex("rank 1@[^ ]+: the disk is full"));
  EXPECT_LT(ended.seconds, 5);
}

TEST(Job, WithAKilledRank_EndsWithinSeconds) {
  const Ended ended = run_ranks(3, "killed_rank");
  EXPECT_NE(ended.status, 0);
  EXPECT_LT(ended.seconds, 5);
}

// Limits are 2 s; of three ranks the culprit is any.
class Culprit : public testing::TestWithParam<int> {
 protected:
  Ended run_with(const std::string& scenario) { return run_ranks(3, fmt::format("{} {}", scenario, culprit)); }
  void expect_ended(const Ended& ended) {
    EXPECT_EQ(ended.status, 2) << ended.output;
    EXPECT_LT(ended.seconds, 8);
    // Where rank 0 is lost, each of the others may say what it knows before the launcher ends it.
    const int most = ended.output.find("which knows who waits where") == std::string::npos ? 1 : 2;
    EXPECT_LE(ended.count("] error "), most) << ended.output;
  }

  const int culprit = GetParam();
  const std::string rank = fmt::format("rank {}@[^ ]+: ", culprit);
  const std::string others = (culprit == 1   ? "ranks 0, 2"
                              : culprit == 0 ? "ranks 1-2"
                                             : "ranks 0-1") +
                             std::string(" on [^ ]+: ");
};
INSTANTIATE_TEST_SUITE_P(Watchdog, Culprit, testing::Values(0, 1, 2));

TEST_P(Culprit, ThatNeverComes_IsNamedWithWhoWaitsWhere) {
  for (const std::string scenario : {"never_comes", "computes_endlessly"}) {
    const Ended ended = run_with(scenario);
    expect_ended(ended);
    EXPECT_THAT(
        ended.output,
        AllOf(HasSubstr("run.collective_timeout_s = 2 s"),
              ContainsRegex(rank + "never came, computing for [23] s, last in all_reduce #[0-9]+ of job in step 7\n"),
              ContainsRegex(others + "waiting in all_reduce #[0-9]+ of job in step 7 for [23] s")));
  }
}

TEST_P(Culprit, ThatIsStopped_IsNamed) {
  const Ended ended = run_with("is_stopped");
  expect_ended(ended);
  if (culprit > 0)
    EXPECT_THAT(ended.output,
                AllOf(ContainsRegex(rank + "silent \\(stopped"), ContainsRegex(others + "waiting in all_reduce")));
  else  // there is nobody who knows of all
    EXPECT_THAT(
        ended.output,
        ContainsRegex("rank [12]@[^ ]+: all_reduce in step 7 has been waiting for other ranks for [0-9]+ s; the limit "
                      "is run.collective_timeout_s = 2. Rank 0@[^ ]+, which knows who waits where, is silent"));
}

TEST_P(Culprit, ThatCallsSomethingElse_IsNamed) {
  for (const auto& [scenario, call] : std::vector<std::pair<std::string, std::string>>{
           {"calls_another_operation", "barrier of 0 bytes"}, {"gives_another_shape", "all_reduce of 20 bytes"}}) {
    const Ended ended = run_with(scenario);
    expect_ended(ended);
    EXPECT_THAT(ended.output,
                ContainsRegex(fmt::format("do not fit together: rank {}@[^ ]+ called {}; {}", culprit, call,
                                          others.substr(0, others.size() - 2) + " called all_reduce of 12 bytes")));
  }
}

// The launcher notices that by itself, and ends the job at once: in its place a shell that does not tell it.
TEST_P(Culprit, ThatIsKilled_IsNamedWhereTheLauncherDoesNotNotice) {
  const Ended ended =
      run(fmt::format("{} -n 3 --oversubscribe --bind-to none sh -c '{} is_killed {}; status=$?; [ $status = 137 ] && "
                      "sleep 30; exit $status'",
                      SPT_MPIEXEC, SPT_DIST_SCENARIO, culprit));
  expect_ended(ended);
  if (culprit > 0)
    EXPECT_THAT(ended.output, ContainsRegex(rank + "gone \\(killed"));
  else
    EXPECT_THAT(ended.output, ContainsRegex("Rank 0@[^ ]+, which knows who waits where, is gone"));
}

TEST(Watchdog, OfUnevenWorkWaitsForARankThatIsHeardOnly) {
  EXPECT_EQ(run_ranks(2, "slow_rank").status, 0);
  const Ended ended = run_ranks(2, "slow_rank_is_stopped");
  EXPECT_EQ(ended.status, 2);
  EXPECT_THAT(ended.output, ContainsRegex("rank 1@[^ ]+: silent"));
  EXPECT_LT(ended.seconds, 8);
}

TEST(Watchdog, EndsAHangOnAStream) {
  const Ended ended = run_ranks(1, "hang_on_stream");
  EXPECT_EQ(ended.status, 2);
  EXPECT_THAT(ended.output, ContainsRegex("rank 0@[^ ]+: all_gather in step 0"));
}

TEST(Watchdog, EndsAFailureOnAStreamNamingOperationAndError) {
  const Ended ended = run_ranks(1, "failure_on_stream");
  EXPECT_EQ(ended.status, 2);
  EXPECT_THAT(ended.output, ContainsRegex("rank 0@[^ ]+: reduce_scatter in step 7 failed: remote process exited"));
  EXPECT_LT(ended.seconds, 5);
}

TEST(Watchdog, LeavesShortCallsAndJobsWithoutALimitAlone) {
  EXPECT_EQ(run_ranks(2, "many_short_calls").status, 0);
  EXPECT_EQ(run_ranks(2, "slow_without_limit").status, 0);
}

// `env -i`: nothing of a launcher, and no PATH that leads to Open MPI's daemon.
TEST(Alone, WithoutMpirun_WorksAndEndsAsUnderIt) {
  const std::string alone = fmt::format("env -i {} ", SPT_DIST_SCENARIO);
  EXPECT_EQ(run(alone + "done").status, 0);
  EXPECT_EQ(run(alone + "stopped").status, 75);
  const Ended ended = run(alone + "bad_input_on_all");
  EXPECT_EQ(ended.status, 1);
  EXPECT_EQ(ended.count(kMessage), 1);
  EXPECT_THAT(ended.output, Not(HasSubstr("MPI_ABORT")));
}

TEST(Alone, StartedBySrunWithoutMpi_IsRefused) {
  const Ended ended = run(fmt::format("env -i SLURM_STEP_NUM_TASKS=4 {} done", SPT_DIST_SCENARIO));
  EXPECT_EQ(ended.status, 1);
  EXPECT_THAT(ended.output, HasSubstr("srun --mpi=pmix"));
}

}  // namespace
