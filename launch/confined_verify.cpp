#include "launch/confined_verify.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child_process.h"
#include "base/error.h"
#include "data/dataset.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

constexpr rlim_t kMemory = rlim_t{2} << 30;  // bytes, above what the program's libraries take
constexpr size_t kMaxMessage = 1 << 16;

// A sound file is unpacked and hashed at 100 MB/s and more; libhdf5 lets damage in its tables loop.
std::chrono::seconds time_limit(const fs::path& path, int64_t seconds) {
  if (seconds > 0) return std::chrono::seconds(seconds);
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  return std::chrono::seconds(60 + (error ? 0 : bytes / 1'000'000));
}

void limit(int resource, rlim_t value) {
  const rlimit both{value, value};
  if (setrlimit(static_cast<__rlimit_resource>(resource), &both) != 0)
    throw Failure(fmt::format("setrlimit: {}", std::strerror(errno)));
}

rlim_t address_space_in_use() {
  rlim_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

void verify_corpus_apart(const fs::path& path, int64_t seconds) {
  const auto most = time_limit(path, seconds);
  const auto refuse = [&](const std::string& how) {
    throw BadInput(
        fmt::format("{}: is damaged or hostile: the process that opened it {}; make it again with spt prepare",
                    path.string(), how));
  };
  const ChildResult child = run_child(
      {"/proc/self/exe", "inspect", path.string(), kConfinedOption, "--verify-seconds", std::to_string(seconds)}, "",
      false, most, kMaxMessage);
  if (!child.in_time) refuse(fmt::format("was not done after {} s (--verify-seconds N gives it more)", most.count()));
  const int status = child.status;
  if (WIFSIGNALED(status)) refuse(fmt::format("crashed ({})", strsignal(WTERMSIG(status))));
  if (WEXITSTATUS(status) == static_cast<int>(ExitStatus::kBadInput)) throw BadInput(child.output);
  if (WEXITSTATUS(status) != 0)
    refuse(child.output.empty() ? fmt::format("ended with status {}", WEXITSTATUS(status))
                                : fmt::format("failed: {}", child.output));
}

int verify_corpus_confined(const fs::path& path, int64_t seconds) {
  try {
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, static_cast<rlim_t>(time_limit(path, seconds).count()));
    limit(RLIMIT_AS, address_space_in_use() + kMemory);
    Dataset(path).verify();
    return static_cast<int>(ExitStatus::kDone);
  } catch (const BadInput& error) {
    fmt::print("{}", error.what());
    return static_cast<int>(ExitStatus::kBadInput);
  } catch (const std::bad_alloc&) {
    fmt::print("it takes more than {} GB of memory", kMemory >> 30);
    return static_cast<int>(ExitStatus::kFailure);
  }
}

}  // namespace spt
