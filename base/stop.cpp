#include "base/stop.h"

#include <csignal>
#include <initializer_list>
#include <string>

#include "base/error.h"

namespace spt {
namespace {

volatile std::sig_atomic_t requested = 0;

void request(int) {
  requested = 1;
}

}  // namespace

void install_stop_handlers() {
  struct sigaction action {};
  action.sa_handler = request;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) sigaction(signal, &action, nullptr);
}

bool stop_requested() {
  return requested != 0;
}

void request_stop() {
  request(0);
}

void stop_if_requested(const char* doing) {
  if (stop_requested()) throw Stopped(std::string("stopped on request ") + doing + ": nothing was changed");
}

bool stop_file_in(const std::filesystem::path& folder) {
  std::error_code unknown;
  return std::filesystem::is_regular_file(folder / "STOP", unknown);
}

void remove_stop_file(const std::filesystem::path& folder) {
  std::error_code none;
  std::filesystem::remove(folder / "STOP", none);
}

}  // namespace spt
