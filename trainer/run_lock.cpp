#include "trainer/run_lock.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "base/error.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::seconds;

constexpr seconds kHeartbeat{10};
constexpr seconds kSilence{60};

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A pid means something only under the same kernel, in the same pid namespace.
std::string pid_space() {
  std::error_code error;
  return first_line("/proc/sys/kernel/random/boot_id") + " " + fs::read_symlink("/proc/self/ns/pid", error).string();
}

json holder_of_this_process() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  const char* job = std::getenv("SLURM_JOB_ID");
  return {{"host", host}, {"pid", getpid()}, {"job", job != nullptr ? job : ""}, {"pid_space", pid_space()}};
}

// Ended, but its parent (in a container often one that never does) has not asked for its status yet.
bool is_zombie(pid_t pid) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", pid).c_str());
  const size_t name_end = line.rfind(')');  // pid (name) state …
  return name_end != std::string::npos && line.compare(name_end, 4, ") Z ") == 0;
}

// What a lock file says; null where that is no lock of ours.
json read_holder(const fs::path& path) {
  std::ifstream file(path);
  json holder = json::parse(file, nullptr, false);
  const auto is = [&](const char* key, json::value_t type) {
    return holder.contains(key) && holder[key].type() == type;
  };
  const bool is_ours = holder.is_object() && is("host", json::value_t::string) && is("job", json::value_t::string) &&
                       is("pid_space", json::value_t::string) && is("pid", json::value_t::number_unsigned);
  return is_ours ? holder : json();
}

bool is_gone(const json& holder) {
  if (!holder.is_object() || holder.value("pid_space", "") != pid_space()) return false;
  const pid_t pid = holder.value("pid", 0);
  return pid > 0 && ((kill(pid, 0) != 0 && errno == ESRCH) || is_zombie(pid));
}

// A lock file that is there.
struct Held {
  std::string who;
  seconds silence;
  bool is_stale;  // its process is gone, or silent for too long
};

// Nothing where there is no such file (any more).
std::optional<Held> read_lock(const fs::path& path) {
  const json holder = read_holder(path);
  std::error_code error;
  const auto beat = fs::last_write_time(path, error);
  if (error) return std::nullopt;
  const auto silence = std::chrono::duration_cast<seconds>(fs::file_time_type::clock::now() - beat);
  const std::string who = holder.is_object()
                              ? fmt::format("host {}, pid {}{}", holder.value("host", "?"), holder.value("pid", 0),
                                            holder.value("job", "").empty() ? "" : ", job " + holder.value("job", ""))
                              : "an unknown process";
  return Held{who, silence, is_gone(holder) || silence >= kSilence};
}

}  // namespace

std::optional<std::string> run_lock_holder(const fs::path& run_folder) {
  const auto held = read_lock(run_folder / "run.lock");
  if (!held || held->is_stale) return std::nullopt;
  return fmt::format("{} (heartbeat {} s ago)", held->who, held->silence.count());
}

RunLock::RunLock(const fs::path& run_folder) : path_(run_folder / "run.lock") {
  while (true) {
    const int descriptor = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) {
      const std::string text = holder_of_this_process().dump() + "\n";
      const bool written = write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size());
      close(descriptor);
      if (!written) {
        unlink(path_.c_str());
        throw Failure(fmt::format("{}: writing failed: {}", path_.string(), std::strerror(errno)));
      }
      break;
    }
    if (errno != EEXIST) throw Failure(fmt::format("{}: cannot be made: {}", path_.string(), std::strerror(errno)));
    const auto held = read_lock(path_);
    if (!held) continue;  // it was removed just now
    if (!held->is_stale)
      throw BadInput(
          fmt::format("{}: the run folder is in use by {} (heartbeat {} s ago); wait for it, or choose another run.dir",
                      path_.string(), held->who, held->silence.count()));
    spdlog::info("taking over {} from {}, which is gone or silent for {} s", run_folder.string(), held->who,
                 held->silence.count());
    // Of two that take over at once, only one can rename.
    const fs::path stale = path_.string() + ".stale";
    std::error_code error;
    fs::rename(path_, stale, error);
    fs::remove(stale, error);
  }
  heart_ = std::thread([this] { beat(); });
}

RunLock::~RunLock() {
  {
    const std::lock_guard guard(mutex_);
    end_ = true;
  }
  ended_.notify_all();
  heart_.join();
  unlink(path_.c_str());
}

void RunLock::beat() {
  std::unique_lock guard(mutex_);
  while (!ended_.wait_for(guard, kHeartbeat, [this] { return end_; })) {
    std::error_code error;
    fs::last_write_time(path_, fs::file_time_type::clock::now(), error);
  }
}

}  // namespace spt
