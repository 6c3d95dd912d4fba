#include "dist/hang_report.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace spt {
namespace {

// So long a launcher has to end a job whose rank is gone.
constexpr double kGoneSeconds = 4;
constexpr size_t kLines = 12, kRanges = 8, kHosts = 4;

// The heartbeat with the lowest limit; none where no rank has one. A silent rank's own may be old.
const Heartbeat* strictest(const std::vector<RankSeen>& ranks) {
  const Heartbeat* found = nullptr;
  for (const RankSeen& rank : ranks)
    if (const double limit = rank.latest.limit_seconds; limit > 0 && (found == nullptr || limit < found->limit_seconds))
      found = &rank.latest;
  return found;
}

// In a report a rank counts as silent after so long; a busy host may delay a heartbeat.
double silence_seconds(const std::vector<RankSeen>& ranks) {
  const Heartbeat* with_limit = strictest(ranks);
  return with_limit != nullptr ? std::clamp(with_limit->limit_seconds / 2, 1.4, 15.0) : 15.0;
}

bool is_gone(const RankSeen& rank) {
  return rank.contact == Contact::kClosed;
}

bool is_silent(const RankSeen& rank, double seconds) {
  return rank.contact == Contact::kOpen && rank.latest.state != RankState::kLeft && rank.silent_seconds >= seconds;
}

bool waits_too_long(const RankSeen& rank) {
  return rank.latest.state == RankState::kWaiting && rank.latest.limit_seconds > 0 &&
         rank.latest.seconds >= rank.latest.limit_seconds;
}

using CallKey = std::tuple<std::string, int, int64_t>;   // group, instance, number
using CallForm = std::tuple<std::string, int64_t>;       // operation, bytes
using CallForms = std::map<CallForm, std::vector<int>>;  // → ranks
using Call = const CollectiveCall;

// The first call of a group that its ranks did not make alike; empty where there is none.
CallForms unlike_calls(const std::vector<RankSeen>& ranks) {
  std::map<CallKey, CallForms> calls;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    std::set<CallKey> seen;  // one that was begun and is finished is there twice
    for (const Call& call : ranks[rank].latest.calls) {
      const CallKey key(call.group, call.instance, call.number);
      if (call.group[0] != '\0' && seen.insert(key).second)
        calls[key][{call.operation, call.bytes}].push_back(static_cast<int>(rank));
    }
  }
  for (const auto& [key, forms] : calls)
    if (forms.size() > 1) return forms;
  return {};
}

std::string name_of(const Call& call) {
  if (call.operation[0] == '\0') return "no collective yet";
  return call.group[0] == '\0' ? std::string(call.operation)
                               : fmt::format("{} #{} of {}", call.operation, call.number, call.group);
}

std::string in_step(const Heartbeat& latest) {
  return latest.step > 0 ? fmt::format(" in step {}", latest.step) : "";
}

// "rank 3@node2", "ranks 0-3, 7 on node1, node2".
std::string who(const std::vector<int>& members, const std::vector<RankSeen>& ranks) {
  std::vector<std::string> hosts;
  for (const int rank : members)
    if (const std::string& host = ranks[static_cast<size_t>(rank)].host;
        std::find(hosts.begin(), hosts.end(), host) == hosts.end())
      hosts.push_back(host);
  if (members.size() == 1) return fmt::format("rank {}@{}", members[0], hosts[0]);
  const size_t more = hosts.size() > kHosts ? hosts.size() - kHosts : 0;
  hosts.resize(hosts.size() - more);
  return fmt::format("ranks {} on {}{}", rank_ranges(members), fmt::join(hosts, ", "),
                     more > 0 ? fmt::format(" and {} more hosts", more) : "");
}

// What is said of a rank, around for how long. Ranks of which the same is said share a line, with the longest time.
struct Said {
  int order;  // those to blame first
  std::string before, after;

  bool operator<(const Said& other) const {
    return std::tie(order, before, after) < std::tie(other.order, other.before, other.after);
  }
};

// And the seconds.
std::pair<Said, double> said_of(const RankSeen& rank, double silence) {
  const Heartbeat& latest = rank.latest;
  const bool waits = latest.state == RankState::kWaiting;
  const std::string call = name_of(latest.calls[0]) + in_step(latest);
  const std::string last = (waits ? ", last seen waiting in " : ", last in ") + call;
  if (is_gone(rank)) return {{0, "gone (killed, or its host went down) for", last}, rank.silent_seconds};
  if (is_silent(rank, silence))
    return {{1, "silent (stopped, or its host or its network is down) for", last}, rank.silent_seconds};
  const double seconds = latest.seconds + rank.silent_seconds;
  if (rank.contact == Contact::kNone)
    return {{5, "never heard of, its heartbeats do not reach rank 0 for", ""}, seconds};
  switch (latest.state) {
    case RankState::kWaiting:
      return {{4, "waiting in " + call + " for", ""}, seconds};
    case RankState::kFailed:
      return {{3, "failed in " + call + ",", " ago"}, seconds};
    case RankState::kLeft:
      return {{5, "at the end of its work for", ""}, seconds};
    case RankState::kWorking:
      break;
  }
  return {{2, latest.phase == Phase::kFiles ? "never came, in file work for" : "never came, computing for", last},
          seconds};
}

std::string lines_of(const std::vector<RankSeen>& ranks) {
  const double silence = silence_seconds(ranks);
  std::map<Said, std::pair<std::vector<int>, double>> groups;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto [said, seconds] = said_of(ranks[rank], silence);
    auto& [members, longest] = groups[said];
    members.push_back(static_cast<int>(rank));
    longest = std::max(longest, seconds);
  }
  std::string text;
  if (const CallForms forms = unlike_calls(ranks); !forms.empty()) {
    std::vector<std::pair<CallForm, std::vector<int>>> by_size(forms.begin(), forms.end());
    std::stable_sort(by_size.begin(), by_size.end(),
                     [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
    std::vector<std::string> called;
    for (const auto& [form, members] : by_size)
      called.push_back(
          fmt::format("{} called {} of {} bytes", who(members, ranks), std::get<0>(form), std::get<1>(form)));
    const size_t more = called.size() > kHosts ? called.size() - kHosts : 0;
    called.resize(called.size() - more);
    text += fmt::format("\n  calls that do not fit together: {}{}", fmt::join(called, "; "),
                        more > 0 ? fmt::format("; and {} other ways", more) : "");
  }
  size_t count = 0, left_out = 0;
  for (const auto& [said, group] : groups) {
    if (++count > kLines)
      left_out += group.first.size();
    else
      text += fmt::format("\n  {}: {} {:.0f} s{}", who(group.first, ranks), said.before, group.second, said.after);
  }
  if (left_out > 0) text += fmt::format("\n  … and {} ranks more", left_out);
  return text;
}

}  // namespace

std::string rank_ranges(const std::vector<int>& ranks) {
  std::vector<std::string> ranges;
  size_t left_out = 0;
  for (size_t begin = 0, end = 0; begin < ranks.size(); begin = end) {
    for (end = begin + 1; end < ranks.size() && ranks[end] == ranks[end - 1] + 1;) ++end;
    if (ranges.size() == kRanges)
      left_out += end - begin;
    else
      ranges.push_back(end == begin + 1 ? fmt::format("{}", ranks[begin])
                                        : fmt::format("{}-{}", ranks[begin], ranks[end - 1]));
  }
  return fmt::format("{}{}", fmt::join(ranges, ", "), left_out > 0 ? fmt::format(" and {} more", left_out) : "");
}

std::string hang_report(const std::vector<RankSeen>& ranks) {
  for (const RankSeen& rank : ranks)
    if (is_gone(rank) && rank.silent_seconds >= kGoneSeconds) return "a rank is gone:" + lines_of(ranks);
  const double silence = silence_seconds(ranks);
  const bool works = std::any_of(ranks.begin(), ranks.end(), [&](const RankSeen& rank) {
    const bool is_heard = rank.contact == Contact::kOpen && !is_silent(rank, silence);
    return rank.contact == Contact::kNone || (is_heard && rank.latest.state == RankState::kWorking);
  });
  const Heartbeat* with_limit = strictest(ranks);
  const double longest_silence = with_limit != nullptr ? std::max(silence, with_limit->limit_seconds) : 0;
  for (const RankSeen& rank : ranks) {
    const Heartbeat* over = nullptr;
    if (waits_too_long(rank) && !(rank.latest.phase == Phase::kUneven && works)) over = &rank.latest;
    if (with_limit != nullptr && is_silent(rank, longest_silence)) over = with_limit;
    if (over != nullptr)
      return fmt::format("the job hangs for longer than {} = {:g} s:{}", over->knob, over->limit_seconds,
                         lines_of(ranks));
  }
  return "";
}

std::string failure_report(const std::vector<RankSeen>& ranks) {
  if (unlike_calls(ranks).empty() && std::none_of(ranks.begin(), ranks.end(), is_gone)) return "";
  return "a collective failed:" + lines_of(ranks);
}

}  // namespace spt
