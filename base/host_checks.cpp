#include "base/host_checks.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/add_seconds.h"
#include "base/durable.h"
#include "base/error.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr rlim_t kOwnFiles = 128;                 // that a rank has open without its peers
constexpr double kNcclShmMb = 32, kMpiShmMb = 8;  // of /dev/shm that a rank takes, generously
constexpr double kLeastSpace = 1;                 // 10⁹ bytes
constexpr double kSlowMbS = 50;
constexpr double kCheckpointGb = 95;           // of a 7B model with its optimizer's state
constexpr int64_t kPiece = int64_t{32} << 20;  // bytes, written and synced at a time
constexpr double kMostSeconds = 5;
constexpr double kMostClockDifference = 2;  // seconds

rlim_t soft_limit(int resource) {
  rlimit limit{};
  getrlimit(static_cast<__rlimit_resource>(resource), &limit);
  return limit.rlim_cur;
}

std::string amount(rlim_t bytes) {
  return bytes == RLIM_INFINITY ? "unlimited" : fmt::format("{} KB", bytes >> 10);
}

Finding locked_memory() {
  constexpr const char* kAbout = "locked memory";
  const rlim_t limit = soft_limit(RLIMIT_MEMLOCK);
  std::error_code none;
  const bool infiniband = fs::directory_iterator("/sys/class/infiniband", none) != fs::directory_iterator();
  if (limit == RLIM_INFINITY || !infiniband)
    return {Severity::kGood, kAbout,
            amount(limit) + (infiniband ? "" : ", which matters to InfiniBand alone; none here")};
  return {Severity::kWarning, kAbout,
          fmt::format("{}: InfiniBand registers more and falls back to TCP or fails; ulimit -l unlimited "
                      "(/etc/security/limits.conf, or for slurmd LimitMEMLOCK=infinity)",
                      amount(limit))};
}

// Over TCP a rank has a socket for each other one.
Finding open_files(int ranks) {
  constexpr const char* kAbout = "open files";
  const rlim_t limit = soft_limit(RLIMIT_NOFILE), least = kOwnFiles + static_cast<rlim_t>(ranks);
  if (limit >= least) return {Severity::kGood, kAbout, fmt::format("{} a process", limit)};
  return {Severity::kFault, kAbout,
          fmt::format("{} a process, {} rank(s) take up to {}: ulimit -n {}", limit, ranks, least,
                      std::max<rlim_t>(4096, 2 * least))};
}

Finding shared_memory(int ranks_here, bool gpus) {
  constexpr const char* kAbout = "/dev/shm";
  std::error_code error;
  const fs::space_info space = fs::space("/dev/shm", error);
  const double megabytes = error ? 0 : static_cast<double>(space.available) / 1e6;
  const double least = ranks_here * (gpus ? kNcclShmMb : kMpiShmMb);
  if (megabytes >= least) return {Severity::kGood, kAbout, fmt::format("{:.0f} MB free", megabytes)};
  return {gpus ? Severity::kFault : Severity::kWarning, kAbout,
          fmt::format("{:.0f} MB free, {} rank(s) here may take {:.0f}: mount -o remount,size=8G /dev/shm, in a "
                      "container --shm-size=8g",
                      megabytes, ranks_here, least)};
}

// Each ends or refuses long or large work; batch systems leave them open.
Finding other_limits() {
  constexpr const char* kAbout = "other limits";
  std::vector<std::string> found;
  for (const auto& [resource, name, knob] : {std::tuple{RLIMIT_AS, "address space", 'v'},
                                             {RLIMIT_FSIZE, "file size", 'f'},
                                             {RLIMIT_CPU, "processor time", 't'}})
    if (soft_limit(static_cast<int>(resource)) != RLIM_INFINITY)
      found.push_back(fmt::format("{} (ulimit -{} unlimited)", name, knob));
  if (found.empty()) return {Severity::kGood, kAbout, "none of address space, file size or processor time"};
  return {Severity::kWarning, kAbout,
          fmt::format("there is one of {}: a training may be ended by it; lift it, or start on a compute node",
                      fmt::join(found, ", "))};
}

Finding space_of(const fs::path& folder) {
  constexpr const char* kAbout = "folder's room";
  const double gigabytes = static_cast<double>(fs::space(folder).available) / 1e9;
  if (gigabytes >= kLeastSpace)
    return {Severity::kGood, kAbout, fmt::format("{:.0f} GB free in {}", gigabytes, folder.string())};
  return {Severity::kWarning, kAbout,
          fmt::format("{:.1f} GB free in {}: less than a checkpoint of most models; choose another run.dir", gigabytes,
                      folder.string())};
}

// A file that is gone when this is.
class Probe {
 public:
  explicit Probe(const fs::path& folder) : path_((folder / ".spt-doctor-XXXXXX").string()) {
    descriptor_ = mkstemp(path_.data());
    if (descriptor_ < 0) fail("making a file");
  }
  ~Probe() {
    close(descriptor_);
    unlink(path_.c_str());
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  int descriptor() const { return descriptor_; }
  const std::string& path() const { return path_; }
  [[noreturn]] void fail(const char* action) const {
    throw Failure(fmt::format("{} failed ({}): {}", action, path_, std::strerror(errno)));
  }

 private:
  std::string path_;
  int descriptor_;
};

Finding speed_of(const fs::path& folder, int64_t megabytes) {
  constexpr const char* kAbout = "folder's speed";
  const Probe file(folder);
  const auto wanted = megabytes * 1'000'000;
  const std::string piece(static_cast<size_t>(std::min(wanted, kPiece)), '\x5a');
  int64_t bytes = 0;
  const auto begin = Clock::now();
  while (bytes < wanted && seconds_since(begin) < kMostSeconds) {
    const ssize_t written = write(file.descriptor(), piece.data(), piece.size());
    if (written <= 0 || fsync(file.descriptor()) != 0) file.fail("writing");
    bytes += written;
  }
  const double write_mb_s = 1e-6 * static_cast<double>(bytes) / seconds_since(begin);
  // What the kernel kept would be read from memory. Some file systems keep it all the same.
  posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  std::string buffer(piece.size(), '\0');
  int64_t back = 0;
  const auto again = Clock::now();
  for (ssize_t got = 1; got > 0 && seconds_since(again) < kMostSeconds; back += got) {
    got = pread(file.descriptor(), buffer.data(), buffer.size(), back);
    if (got < 0) file.fail("reading");
  }
  const double read_mb_s = 1e-6 * static_cast<double>(back) / seconds_since(again);
  const std::string found = fmt::format("written at {:.0f} MB/s, read at {:.0f}", write_mb_s, read_mb_s);
  if (write_mb_s >= kSlowMbS) return {Severity::kGood, kAbout, found};
  return {Severity::kWarning, kAbout,
          fmt::format("{}: a 7B model's checkpoint ({:.0f} GB with its optimizer) takes {:.0f} minutes; choose a "
                      "run.dir on a faster file system (--dir tries one)",
                      found, kCheckpointGb, 1000 * kCheckpointGb / write_mb_s / 60)};
}

// Run folders are locked by making a file that must not be there yet, and files replaced by renaming. HDF5 is opened
// without its locks, so those of fcntl are told, not asked for.
Finding locks_of(const fs::path& folder) {
  constexpr const char* kAbout = "folder's locks";
  const Probe first(folder), second(folder);
  const int again = open(first.path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (again >= 0) {
    close(again);
    return {Severity::kFault, kAbout,
            "a file can be made twice, so two runs could take one folder: this file system is none for run.dir"};
  }
  if (std::rename(second.path().c_str(), first.path().c_str()) != 0) first.fail("renaming over a file");
  sync_folder(folder);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  const bool locks = fcntl(second.descriptor(), F_SETLK, &lock) == 0;
  return {Severity::kGood, kAbout,
          fmt::format("files are made once and replaced as a whole; fcntl locks {}",
                      locks ? "work" : "do not work, which spt does not need")};
}

// Locks and remembered hashes go by the times that the file system writes.
Finding clock_of(const fs::path& folder) {
  constexpr const char* kAbout = "folder's clock";
  const Probe file(folder);
  struct stat found {};
  if (write(file.descriptor(), "x", 1) != 1 || fsync(file.descriptor()) != 0 || fstat(file.descriptor(), &found) != 0)
    file.fail("writing");
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const double behind = static_cast<double>(now.tv_sec - found.st_mtim.tv_sec) +
                        1e-9 * static_cast<double>(now.tv_nsec - found.st_mtim.tv_nsec);
  if (std::abs(behind) <= kMostClockDifference)
    return {Severity::kGood, kAbout, fmt::format("within {:.0f} s of this host's", kMostClockDifference)};
  return {Severity::kWarning, kAbout,
          fmt::format("{:.1f} s from this host's: let both follow a time server (chrony), or hashes of inputs are made "
                      "again in each run",
                      std::abs(behind))};
}

}  // namespace

std::vector<Finding> check_limits(int ranks_here, int ranks, bool gpus) {
  return {locked_memory(), open_files(ranks), shared_memory(ranks_here, gpus), other_limits()};
}

std::vector<Finding> check_folder(const fs::path& folder, int64_t megabytes) {
  try {
    require_writable(folder, "--dir");
    return {space_of(folder), speed_of(folder, megabytes), locks_of(folder), clock_of(folder)};
  } catch (const std::exception& error) {
    return {
        {Severity::kFault, "folder", fmt::format("{}; choose another one for runs (--dir tries it)", error.what())}};
  }
}

}  // namespace spt
