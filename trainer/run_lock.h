// One run at a time in a run folder: the file run.lock names host, pid and Slurm job of its holder, and its
// modification time is a heartbeat.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace spt {

inline constexpr const char* kRunLock = "run.lock";

class RunLock {
 public:
  // Made on rank 0. Takes over a lock whose heartbeat is 60 s old by the file system's own clock, whose process on this
  // machine is gone, or whose job is this one before Slurm started it again. Throws BadInput naming the holder
  // otherwise, and Failure when no lock can be made. Touches the file every 10 s from a thread until destroyed, which
  // removes it.
  explicit RunLock(const std::filesystem::path& run_folder, const char* name = kRunLock);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // Throws Failure when another run has taken the folder over (this process was silent for a minute), or the lock is
  // gone because somebody removed it or moved the folder: to be asked after every step and before anything is written.
  void require_held() const;

 private:
  bool is_lost() const;
  void beat();

  std::filesystem::path path_;
  std::string token_;  // tells this holder from every other
  std::atomic<bool> lost_{false};
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  std::thread heart_;
};

// Who is at work in a run folder: "host h, pid 1, job 7 (heartbeat 3 s ago)". Nothing where there is no lock, or one
// that RunLock would take over.
std::optional<std::string> run_lock_holder(const std::filesystem::path& run_folder, const char* name = kRunLock);

}  // namespace spt
