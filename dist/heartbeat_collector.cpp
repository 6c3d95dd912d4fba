#include "dist/heartbeat_collector.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <random>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "dist/hang_report.h"

namespace spt {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLook(250);
// After a longer one between two looks this process, and often all of them, had been stopped (SIGSTOP, scontrol
// suspend).
constexpr milliseconds kStopped(3000);
// When a collective has failed, the others' next heartbeats say which one they are in.
constexpr milliseconds kOthersSpoke(1200);
// What is logged is with the launcher before it hears of the first rank's end.
constexpr milliseconds kLogged(200);
constexpr milliseconds kAllConnected(30000);

HeartbeatToken random_token() {
  std::random_device random;
  HeartbeatToken token;
  for (char& byte : token) byte = static_cast<char>(random());
  return token;
}

void allow_connections(size_t count) {
  rlimit limit{};
  constexpr rlim_t kOthers = 512;  // files of all else
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count + kOthers) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, count + kOthers);
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

class HeartbeatCollector::Table {
 public:
  Table(std::vector<std::string> hosts, HeartbeatToken token, Socket listening, int wake)
      : token_(token), listening_(std::move(listening)), wake_(wake), last_look_(Clock::now()) {
    for (std::string& host : hosts) {
      ranks_.push_back({RankSeen(), last_look_});
      ranks_.back().seen.host = std::move(host);
    }
    allow_connections(ranks_.size());
  }

  void collect(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      receive();
      const auto pause = Clock::now() - last_look_;
      if (pause < kLook) continue;
      last_look_ = Clock::now();
      if (pause > kStopped) {
        for (Rank& rank : ranks_) rank.heard += pause;
        last_look_ += kStopped;  // no verdict before all have spoken again
        continue;
      }
      look();
    }
  }

 private:
  struct Rank {
    RankSeen seen;
    Clock::time_point heard;
  };
  struct Connection {
    Socket socket;
    int rank = -1;  // unknown until its first frame
    std::string received;
  };

  void receive() {
    std::vector<pollfd> polled{{wake_, POLLIN, 0}, {listening_.fd(), POLLIN, 0}};
    for (const Connection& one : connections_) polled.push_back({one.socket.fd(), POLLIN, 0});
    poll(polled.data(), polled.size(), static_cast<int>(kLook.count()));
    for (size_t i = 0; i < connections_.size(); ++i)
      if (polled[i + 2].revents != 0) receive_from(connections_[i]);
    std::erase_if(connections_, [](const Connection& one) { return !one.socket; });
    if (polled[1].revents == 0) return;
    if (Socket socket = accept_from(listening_)) {
      connections_.push_back({std::move(socket), -1, ""});
    } else if (errno == EMFILE || errno == ENFILE) {
      spdlog::warn("rank 0 may open no more files (ulimit -n): of a hang some ranks will be unheard");
      listening_ = Socket();
    }
  }

  void receive_from(Connection& from) {
    bool is_open = receive_some(from.socket, from.received);
    while (is_open && from.received.size() >= sizeof(HeartbeatFrame)) {
      HeartbeatFrame frame;
      std::memcpy(&frame, from.received.data(), sizeof(frame));
      from.received.erase(0, sizeof(frame));
      is_open = frame.token == token_ && frame.rank >= 0 && static_cast<size_t>(frame.rank) < ranks_.size();
      if (!is_open) break;
      from.rank = frame.rank;
      take(frame);
      answer(from, kHeard);
    }
    if (is_open) return;
    if (from.rank >= 0) lose(ranks_[static_cast<size_t>(from.rank)]);
    from.socket = Socket();
  }

  void take(const HeartbeatFrame& frame) {
    Rank& rank = ranks_[static_cast<size_t>(frame.rank)];
    if (frame.heartbeat.state == RankState::kFailed && rank.seen.latest.state != RankState::kFailed)
      failed_ = Clock::now();
    rank.seen.latest = frame.heartbeat;
    rank.seen.contact = Contact::kOpen;
    rank.heard = Clock::now();
  }

  static void lose(Rank& rank) {
    if (rank.seen.latest.state == RankState::kLeft) return;
    rank.seen.contact = Contact::kClosed;
    rank.heard = Clock::now();
  }

  static void answer(const Connection& to, HeartbeatAnswer byte) {
    std::string text(1, byte);
    send_some(to.socket, text);  // one that takes none of it is not there to miss it
  }

  void look() {
    std::vector<RankSeen> seen;
    for (Rank& rank : ranks_) {
      seen.push_back(rank.seen);
      seen.back().silent_seconds = std::chrono::duration<double>(Clock::now() - rank.heard).count();
    }
    if (const std::string report = hang_report(seen); !report.empty()) end_job(report);
    warn_of_unheard(seen);
    if (failed_ == Clock::time_point() || Clock::now() - failed_ < kOthersSpoke) return;
    failed_ = Clock::time_point();
    if (const std::string report = failure_report(seen); !report.empty()) end_job(report);
    for (const Connection& one : connections_)
      if (one.rank >= 0 && seen[static_cast<size_t>(one.rank)].latest.state == RankState::kFailed)
        answer(one, kNobodyElse);
  }

  // Once.
  void warn_of_unheard(const std::vector<RankSeen>& seen) {
    if (is_complete_ || Clock::now() - start_ < kAllConnected) return;
    is_complete_ = true;
    std::vector<int> unheard;
    for (size_t rank = 0; rank < seen.size(); ++rank)
      if (seen[rank].contact == Contact::kNone) unheard.push_back(static_cast<int>(rank));
    if (!unheard.empty())
      spdlog::warn(
          "no heartbeats come from rank(s) {}, the first on {}: TCP from there to this host is blocked; of a hang "
          "these "
          "ranks would be unknown",
          rank_ranges(unheard), seen[static_cast<size_t>(unheard[0])].host);
  }

  [[noreturn]] void end_job(const std::string& report) {
    spdlog::error("{}", report);
    spdlog::default_logger()->flush();
    std::this_thread::sleep_for(kLogged);
    for (const Connection& one : connections_) answer(one, kEndNow);
    std::this_thread::sleep_for(kLogged);
    _exit(static_cast<int>(ExitStatus::kFailure));
  }

  HeartbeatToken token_;
  Socket listening_;
  int wake_;
  std::vector<Rank> ranks_;
  std::vector<Connection> connections_;
  Clock::time_point start_ = Clock::now(), last_look_;
  bool is_complete_ = false;  // all ranks are heard, or it was said who is not
  Clock::time_point failed_;  // the latest failure of a collective that is not looked into yet
};

HeartbeatCollector::HeartbeatCollector(std::vector<std::string> hosts) : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  Socket listening = listen_anywhere();
  if (!listening || !wake_) {
    spdlog::warn("no socket for heartbeats on {} ({}): of a hang each rank will say only what it knows itself",
                 hosts[0], std::strerror(errno));
    return;
  }
  const HeartbeatToken token = random_token();
  address_ = CollectorAddress{token, port_of(listening), host_addresses()}.text();
  thread_ = std::jthread([table = Table(std::move(hosts), token, std::move(listening), wake_.fd())](
                             const std::stop_token& stop) mutable { table.collect(stop); });
}

HeartbeatCollector::~HeartbeatCollector() {
  thread_.request_stop();
  if (wake_) eventfd_write(wake_.fd(), 1);
}

}  // namespace spt
