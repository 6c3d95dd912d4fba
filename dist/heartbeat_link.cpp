#include "dist/heartbeat_link.h"

#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace spt {

using Clock = std::chrono::steady_clock;

std::string CollectorAddress::text() const {
  std::string hex;
  for (const char byte : token) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return fmt::format("{} {} {}", hex, port, fmt::join(hosts, " "));
}

CollectorAddress CollectorAddress::parse(const std::string& text) {
  CollectorAddress address;
  std::istringstream words(text);
  std::string hex, host;
  words >> hex >> address.port;
  for (size_t i = 0; i < address.token.size(); ++i)
    address.token[i] = static_cast<char>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  while (words >> host) address.hosts.push_back(host);
  return address;
}

double HeartbeatLink::silent_seconds() const {
  return std::chrono::duration<double>(Clock::now() - heard_).count();
}

void HeartbeatLink::send(const Heartbeat& heartbeat) {
  if (state_ == State::kClosed || state_ == State::kUnreachable) return;
  const HeartbeatFrame frame{collector_.token, rank_, heartbeat};
  const std::string bytes(reinterpret_cast<const char*>(&frame), sizeof(frame));
  answers_.clear();
  if (state_ == State::kConnecting) {
    constexpr int kTries = 5;
    if (!connect(bytes) && ++tries_ == kTries) state_ = State::kUnreachable;
    return;
  }
  if (pending_.empty()) pending_ = bytes;
  // First what has come: a collector that has ended the job is not there to be sent to.
  const bool is_open = receive_some(socket_, answers_) && send_some(socket_, pending_);
  if (!answers_.empty()) heard_ = Clock::now();
  if (!is_open) close();
}

// Whoever answers a frame with our token is the collector: the same private address may belong to several hosts.
bool HeartbeatLink::connect(const std::string& frame) {
  constexpr double kSeconds = 1;
  for (const std::string& host : collector_.hosts) {
    Socket socket = connect_to(host, collector_.port, kSeconds);
    std::string sent = frame;
    if (!socket || !send_some(socket, sent) || !sent.empty()) continue;
    wait_for_input(socket, kSeconds);
    if (receive_some(socket, answers_) && !answers_.empty()) {
      socket_ = std::move(socket);
      state_ = State::kOpen;
      heard_ = Clock::now();
      return true;
    }
  }
  return false;
}

void HeartbeatLink::close() {
  socket_ = Socket();
  state_ = State::kClosed;
  heard_ = Clock::now();
}

}  // namespace spt
