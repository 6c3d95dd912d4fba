#include "dist/hang_report.h"

#include <algorithm>

#include <gmock/gmock.h>

namespace spt {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr double kLimit = 600;

RankSeen rank_in(RankState state, double seconds, const CollectiveCall& call, const std::string& host = "n1") {
  RankSeen rank{.host = host, .contact = Contact::kOpen, .silent_seconds = 0.3, .latest = {}};
  rank.latest.state = state;
  rank.latest.seconds = seconds;
  rank.latest.limit_seconds = kLimit;
  std::strcpy(rank.latest.knob, "run.collective_timeout_s");
  rank.latest.step = 12;
  rank.latest.calls[0] = call;
  return rank;
}

RankSeen waiting(double seconds, const CollectiveCall& call = {"all_reduce", "dp", 0, 77, 4096}) {
  return rank_in(RankState::kWaiting, seconds, call);
}

RankSeen working(double seconds) {
  return rank_in(RankState::kWorking, seconds, {"all_gather", "dp", 0, 76, 64}, "n63");
}

TEST(RankRanges, JoinNeighboursAndCountTheLast) {
  EXPECT_EQ(rank_ranges({}), "");
  EXPECT_EQ(rank_ranges({5}), "5");
  EXPECT_EQ(rank_ranges({0, 1, 2, 4, 6, 7}), "0-2, 4, 6-7");
  std::vector<int> odd;
  for (int rank = 1; rank < 40; rank += 2) odd.push_back(rank);
  EXPECT_EQ(rank_ranges(odd), "1, 3, 5, 7, 9, 11, 13, 15 and 12 more");
}

TEST(HangReport, IsEmptyBelowTheLimitAndWithoutOne) {
  EXPECT_THAT(hang_report({waiting(kLimit - 1), working(3 * kLimit)}), IsEmpty());
  RankSeen patient = waiting(1e6);
  patient.latest.limit_seconds = 0;
  EXPECT_THAT(hang_report({patient, patient}), IsEmpty());
}

TEST(HangReport, NamesTheOneOf512WhoNeverCame) {
  std::vector<RankSeen> ranks(511, waiting(601));
  for (size_t rank = 0; rank < ranks.size(); ++rank) ranks[rank].host = "n" + std::to_string(rank / 8);
  ranks.push_back(working(640));
  EXPECT_EQ(hang_report(ranks),
            "the job hangs for longer than run.collective_timeout_s = 600 s:\n"
            "  rank 511@n63: never came, computing for 640 s, last in all_gather #76 of dp in step 12\n"
            "  ranks 0-510 on n0, n1, n2, n3 and 60 more hosts: waiting in all_reduce #77 of dp in step 12 for 601 s");
}

TEST(HangReport, TellsFileWorkFromComputing) {
  RankSeen saving = working(900);
  saving.latest.phase = Phase::kFiles;
  EXPECT_THAT(hang_report({saving, waiting(601)}), HasSubstr("rank 0@n63: never came, in file work for 900 s"));
}

TEST(HangReport, StaysShortHoweverUnlikeTheRanksAre) {
  std::vector<RankSeen> ranks;
  for (int rank = 0; rank < 512; ++rank) {
    ranks.push_back(waiting(601, {"all_reduce", "dp", 0, rank, 4096}));
    ranks.back().host = "node" + std::to_string(rank);
  }
  const std::string report = hang_report(ranks);
  EXPECT_LE(std::count(report.begin(), report.end(), '\n'), 14) << report;
  EXPECT_LT(report.size(), 2000);
  EXPECT_THAT(report, HasSubstr("… and 500 ranks more"));
}

TEST(HangReport, NamesASilentRankFirst) {
  RankSeen silent = working(1);
  silent.silent_seconds = 599;
  EXPECT_THAT(hang_report({waiting(100), silent}), IsEmpty());
  const std::string named =
      "rank 1@n63: silent (stopped, or its host or its network is down) for 599 s, last in all_gather #76";
  EXPECT_THAT(hang_report({waiting(600), silent}), HasSubstr(":\n  " + named));
  // Also where nobody waits: its host may be lost.
  silent.silent_seconds = 601;
  EXPECT_THAT(hang_report({working(1), silent}), HasSubstr("rank 1@n63: silent"));
}

TEST(HangReport, ExcusesALateHeartbeatAndRanksThatNeverCouldSendOne) {
  RankSeen late = waiting(598);
  late.silent_seconds = 10;
  EXPECT_THAT(hang_report({late, waiting(599)}), IsEmpty());
  RankSeen unheard{.host = "n9", .contact = Contact::kNone, .silent_seconds = 1e6, .latest = {}};
  EXPECT_THAT(hang_report({working(10), unheard}), IsEmpty());
  EXPECT_THAT(hang_report({waiting(601), unheard}), HasSubstr("rank 1@n9: never heard of"));
}

TEST(HangReport, WaitsAFewSecondsForTheLauncherToEndAJobWhoseRankIsGone) {
  RankSeen gone = working(1);
  gone.contact = Contact::kClosed;
  gone.silent_seconds = 1;
  EXPECT_THAT(hang_report({waiting(1), gone}), IsEmpty());
  gone.silent_seconds = 6;
  EXPECT_THAT(hang_report({waiting(6), gone}), HasSubstr("rank 1@n63: gone (killed, or its host went down) for 6 s"));
}

TEST(HangReport, NamesTheFewWhoCalledOtherwise) {
  std::vector<RankSeen> ranks(7, waiting(601));
  ranks.push_back(waiting(601, {"all_reduce", "dp", 0, 77, 8192}));
  EXPECT_THAT(hang_report(ranks),
              HasSubstr("calls that do not fit together: rank 7@n1 called all_reduce of 8192 bytes; "
                        "ranks 0-6 on n1 called all_reduce of 4096 bytes"));
  // One that has gone on is found among its earlier calls.
  ranks[7].latest.calls = {};
  ranks[7].latest.calls[0] = {"all_reduce", "dp", 0, 78, 4096};
  ranks[7].latest.calls[1] = {"broadcast", "dp", 0, 77, 4096};
  EXPECT_THAT(hang_report(ranks), HasSubstr("rank 7@n1 called broadcast of 4096 bytes"));
}

TEST(HangReport, DoesNotCompareCallsOfUnlikeGroups) {
  const CollectiveCall ours{"all_reduce", "tp", 0, 77, 1}, theirs{"all_gather", "tp", 1, 77, 2},
      nameless{"barrier", "", 0, 77, 3}, other{"broadcast", "", 0, 77, 4};
  EXPECT_THAT(hang_report({waiting(601, ours), waiting(601, theirs), waiting(601, nameless), waiting(601, other)}),
              Not(HasSubstr("do not fit")));
}

TEST(HangReport, OfUnevenWorkLetsRanksWaitWhileOneIsHeardAndWorks) {
  std::vector<RankSeen> ranks{waiting(1e5), working(1e5), waiting(1e5)};
  for (RankSeen& rank : ranks) rank.latest.phase = Phase::kUneven;
  EXPECT_THAT(hang_report(ranks), IsEmpty());
  std::vector<RankSeen> stopped = ranks, stuck = ranks;
  stopped[1].silent_seconds = 601;
  EXPECT_THAT(hang_report(stopped), HasSubstr("rank 1@n63: silent"));
  stuck[1] = stuck[0];
  EXPECT_THAT(hang_report(stuck), AllOf(HasSubstr("ranks 0-2 on n1: waiting"), HasSubstr("for 100000 s")));
}

TEST(FailureReport, SpeaksOnlyWhereAnotherRankIsToBlame) {
  const CollectiveCall call{"all_reduce", "job", 0, 5, 12};
  std::vector<RankSeen> ranks{rank_in(RankState::kFailed, 1, call), waiting(1, call)};
  EXPECT_THAT(failure_report(ranks), IsEmpty());
  ranks[1].latest.calls[0].bytes = 20;
  EXPECT_THAT(failure_report(ranks),
              AllOf(HasSubstr("a collective failed:"), HasSubstr("called all_reduce of 20 bytes")));
  ranks[1] = waiting(1, call);
  ranks[1].contact = Contact::kClosed;
  EXPECT_THAT(failure_report(ranks), HasSubstr("rank 1@n1: gone"));
}

}  // namespace
}  // namespace spt
