// The few calls of TCP that heartbeats take. Nothing here blocks but `connect_to`.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace spt {

// Owns a non-blocking socket, or none. Programs that this one starts do not inherit it.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket();
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// On all addresses of this host, at a port that the system chooses. None where that cannot be had.
Socket listen_anywhere();
int port_of(const Socket& listening);
// A connection that waits to be accepted, or none.
Socket accept_from(const Socket& listening);
// Addresses of this host that others may reach, as numbers; 127.0.0.1 last.
std::vector<std::string> host_addresses();
// None where it is refused or takes longer than `seconds`.
Socket connect_to(const std::string& address, int port, double seconds);

// Sends what it can and cuts that off `pending`. False: the connection is closed.
bool send_some(const Socket& socket, std::string& pending);
// Appends what has come to `received`. False: the connection is closed.
bool receive_some(const Socket& socket, std::string& received);
// Until something has come, the connection is closed, or so many seconds are over.
void wait_for_input(const Socket& socket, double seconds);

}  // namespace spt
