#include "trainer/run_lock.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <optional>
#include <random>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/read_file.h"

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

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

json holder_of_this_process(const std::string& token) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return {{"host", host},
          {"pid", getpid()},
          {"job", variable("SLURM_JOB_ID")},
          {"cluster", variable("SLURM_CLUSTER_NAME")},
          {"restarts", variable("SLURM_RESTART_COUNT")},
          {"pid_space", pid_space()},
          {"token", token}};
}

std::string random_token() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}", random(), random(), random());
}

// Ended, but its parent (in a container often one that never does) has not asked for its status yet.
bool is_zombie(pid_t pid) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", pid).c_str());
  const size_t name_end = line.rfind(')');  // pid (name) state …
  return name_end != std::string::npos && line.compare(name_end, 4, ") Z ") == 0;
}

// What a lock file says; null where that is no lock of ours.
json read_holder(const fs::path& path) {
  std::error_code error;
  const json holder = fs::is_regular_file(path, error) ? json::parse(read_file(path), nullptr, false) : json();
  const auto is = [&](const char* key, json::value_t type) {
    return holder.contains(key) && holder[key].type() == type;
  };
  const bool is_ours = holder.is_object() && is("host", json::value_t::string) && is("job", json::value_t::string) &&
                       is("pid_space", json::value_t::string) && is("token", json::value_t::string) &&
                       is("pid", json::value_t::number_unsigned);
  return is_ours ? holder : json();
}

// Slurm starts a job again only when its nodes have ended it, or are given up.
bool was_requeued(const json& holder) {
  const auto is = [&](const char* key, const char* name) { return holder.value(key, json("")) == variable(name); };
  return !variable("SLURM_JOB_ID").empty() && is("job", "SLURM_JOB_ID") && is("cluster", "SLURM_CLUSTER_NAME") &&
         !is("restarts", "SLURM_RESTART_COUNT");
}

bool is_gone(const json& holder) {
  if (!holder.is_object()) return false;
  if (was_requeued(holder)) return true;
  if (holder.value("pid_space", "") != pid_space()) return false;
  const pid_t pid = holder.value("pid", 0);
  return pid > 0 && ((kill(pid, 0) != 0 && errno == ESRCH) || is_zombie(pid));
}

std::string token_of(const json& holder) {
  return holder.is_object() ? holder.value("token", "") : "";
}

std::string name_of(const json& holder) {
  if (!holder.is_object()) return "an unknown process";
  const std::string job = holder.value("job", "");
  return fmt::format("host {}, pid {}{}", holder.value("host", "?"), holder.value("pid", 0),
                     job.empty() ? "" : ", job " + job);
}

// False when there is a lock already.
bool make_lock(const fs::path& path, const json& holder) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    if (errno == EEXIST) return false;
    throw Failure(fmt::format("{}: cannot be made: {}", path.string(), std::strerror(errno)));
  }
  const std::string text = holder.dump() + "\n";
  const bool written = write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int reason = errno;
  close(descriptor);
  if (written) return true;
  unlink(path.c_str());
  throw Failure(fmt::format("{}: writing failed: {}", path.string(), std::strerror(reason)));
}

// Seconds since the lock's last heartbeat, by the clock of the file system, which touches `probe`: clocks of
// workstations differ. Nothing when the lock is gone.
std::optional<seconds> silence_of(const fs::path& lock, const fs::path& probe) {
  close(open(probe.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  std::error_code no_probe, no_lock;
  const auto now = fs::last_write_time(probe, no_probe);
  const auto beat = fs::last_write_time(lock, no_lock);
  fs::remove(probe, no_probe);
  if (no_lock) return std::nullopt;
  if (no_probe) throw Failure(fmt::format("{}: cannot be made: {}", probe.string(), no_probe.message()));
  return std::chrono::duration_cast<seconds>(now - beat);
}

// Moves the lock with this token out of the way. Another run may have taken it over just now: its lock is put back.
void remove_lock(const fs::path& path, const std::string& token, const fs::path& aside) {
  if (rename(path.c_str(), aside.c_str()) != 0) {
    if (errno == ENOENT) return;
    throw Failure(
        fmt::format("{}: a lock that nobody holds cannot be removed: {}", path.string(), std::strerror(errno)));
  }
  if (token_of(read_holder(aside)) != token && link(aside.c_str(), path.c_str()) != 0 && errno != EEXIST)
    rename(aside.c_str(), path.c_str());  // a file system without links
  unlink(aside.c_str());
}

}  // namespace

std::optional<std::string> run_lock_holder(const fs::path& run_folder, const char* name) {
  const fs::path path = run_folder / name;
  std::error_code error;
  const auto beat = fs::last_write_time(path, error);
  if (error) return std::nullopt;
  const json holder = read_holder(path);
  const auto silence = std::chrono::duration_cast<seconds>(fs::file_time_type::clock::now() - beat);
  if (is_gone(holder) || silence >= kSilence) return std::nullopt;
  return fmt::format("{} (heartbeat {} s ago)", name_of(holder), silence.count());
}

RunLock::RunLock(const fs::path& run_folder, const char* name) : path_(run_folder / name), token_(random_token()) {
  std::error_code error;
  if (fs::is_directory(path_, error))
    throw BadInput(fmt::format("{}: is a folder where the lock should be; remove it", path_.string()));
  const fs::path aside = path_.string() + "." + token_;
  constexpr int kAttempts = 20;  // each but the first because another run was quicker
  for (int attempt = 0; !make_lock(path_, holder_of_this_process(token_)); ++attempt) {
    const json holder = read_holder(path_);
    const std::optional<seconds> silence = silence_of(path_, aside);
    if (attempt == kAttempts)
      throw Failure(fmt::format("{}: cannot be taken; remove it if no run uses the folder", path_.string()));
    if (!silence) continue;  // it was removed just now
    if (!is_gone(holder) && *silence < kSilence)
      throw BadInput(
          fmt::format("{}: the run folder is in use by {} (heartbeat {} s ago); wait for it, or choose another run.dir",
                      path_.string(), name_of(holder), silence->count()));
    spdlog::info("taking over {} from {}, which is gone or silent for {} s", run_folder.string(), name_of(holder),
                 silence->count());
    remove_lock(path_, token_of(holder), aside);
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
  if (token_of(read_holder(path_)) == token_) unlink(path_.c_str());
}

// A file that cannot be read is not lost yet: a network file system may fail for a moment.
bool RunLock::is_lost() const {
  const json holder = read_holder(path_);
  if (token_of(holder) == token_) return false;
  std::error_code error;
  return holder.is_object() || fs::status(path_, error).type() == fs::file_type::not_found;
}

void RunLock::require_held() const {
  if (!lost_ && !is_lost()) return;
  const json holder = read_holder(path_);
  throw Failure(holder.is_object()
                    ? fmt::format("{}: the run folder was taken over by {}, because this run was silent for over {} s",
                                  path_.string(), name_of(holder), kSilence.count())
                    : fmt::format("{}: the lock is gone: was it removed, or the run folder moved?", path_.string()));
}

void RunLock::beat() {
  std::unique_lock guard(mutex_);
  while (!ended_.wait_for(guard, kHeartbeat, [this] { return end_; })) {
    if (is_lost())
      lost_ = true;
    else
      utimensat(AT_FDCWD, path_.c_str(), nullptr, 0);  // now, as the file system's clock says
  }
}

}  // namespace spt
