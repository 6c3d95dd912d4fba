#include "dist/tcp.h"

#include <array>
#include <cerrno>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace spt {
namespace {

constexpr int kWaiting = 4096;  // connections that wait to be accepted: all ranks come at once
constexpr int kKind = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

void poll_one(int fd, short events, double seconds) {
  pollfd one{fd, events, 0};
  poll(&one, 1, static_cast<int>(seconds * 1000));
}

}  // namespace

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

Socket listen_anywhere() {
  // IPv6's sockets take IPv4 too; some hosts have no IPv6.
  if (Socket socket(::socket(AF_INET6, kKind, 0)); socket) {
    const int off = 0;
    setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_addr = in6addr_any;
    if (bind(socket.fd(), reinterpret_cast<sockaddr*>(&any), sizeof(any)) == 0 && listen(socket.fd(), kWaiting) == 0)
      return socket;
  }
  if (Socket socket(::socket(AF_INET, kKind, 0)); socket) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    if (bind(socket.fd(), reinterpret_cast<sockaddr*>(&any), sizeof(any)) == 0 && listen(socket.fd(), kWaiting) == 0)
      return socket;
  }
  return {};
}

int port_of(const Socket& listening) {
  sockaddr_in6 address{};  // the port lies at the same place in IPv4's
  socklen_t size = sizeof(address);
  getsockname(listening.fd(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin6_port);
}

Socket accept_from(const Socket& listening) {
  return Socket(accept4(listening.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

std::vector<std::string> host_addresses() {
  std::vector<std::string> addresses;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) == 0) {
    for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
      const bool is_up = (one->ifa_flags & IFF_UP) != 0 && (one->ifa_flags & IFF_LOOPBACK) == 0;
      if (one->ifa_addr == nullptr || !is_up) continue;
      std::array<char, INET6_ADDRSTRLEN> text{};
      if (one->ifa_addr->sa_family == AF_INET) {
        const auto* ip = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
        inet_ntop(AF_INET, &ip->sin_addr, text.data(), text.size());
      } else if (one->ifa_addr->sa_family == AF_INET6) {
        const auto* ip = reinterpret_cast<const sockaddr_in6*>(one->ifa_addr);
        if (!IN6_IS_ADDR_LINKLOCAL(&ip->sin6_addr)) inet_ntop(AF_INET6, &ip->sin6_addr, text.data(), text.size());
      }
      if (text[0] != '\0') addresses.emplace_back(text.data());
    }
    freeifaddrs(all);
  }
  addresses.emplace_back("127.0.0.1");
  return addresses;
}

Socket connect_to(const std::string& address, int port, double seconds) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return {};
  Socket socket(::socket(found->ai_family, kKind, 0));
  const bool is_on = socket && (connect(socket.fd(), found->ai_addr, found->ai_addrlen) == 0 || errno == EINPROGRESS);
  freeaddrinfo(found);
  if (!is_on) return {};
  poll_one(socket.fd(), POLLOUT, seconds);
  sockaddr_storage peer{};
  socklen_t size = sizeof(peer);
  if (getpeername(socket.fd(), reinterpret_cast<sockaddr*>(&peer), &size) != 0) return {};
  const int on = 1;
  setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return socket;
}

bool send_some(const Socket& socket, std::string& pending) {
  while (!pending.empty()) {
    const ssize_t sent = send(socket.fd(), pending.data(), pending.size(), MSG_NOSIGNAL);
    if (sent < 0) return would_block();
    pending.erase(0, static_cast<size_t>(sent));
  }
  return true;
}

bool receive_some(const Socket& socket, std::string& received) {
  std::array<char, 8192> bytes{};
  while (true) {
    const ssize_t count = recv(socket.fd(), bytes.data(), bytes.size(), 0);
    if (count < 0) return would_block();
    if (count == 0) return false;
    received.append(bytes.data(), static_cast<size_t>(count));
  }
}

void wait_for_input(const Socket& socket, double seconds) {
  poll_one(socket.fd(), POLLIN, seconds);
}

}  // namespace spt
