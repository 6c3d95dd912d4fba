#include "base/sha256_cache.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/durable.h"
#include "base/error.h"
#include "base/sha256.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

std::optional<fs::path> cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return fs::path(cache) / "spt" / "sha256";
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return fs::path(home) / ".cache" / "spt" / "sha256";
  return std::nullopt;
}

// What a file is, without reading it; "" where there is none, or it changed just now.
std::string identity_of(const fs::path& path) {
  constexpr time_t kCoarse = 2;  // seconds within which a change need not change the times
  struct stat facts {};
  if (stat(path.c_str(), &facts) != 0) return "";
  if (time(nullptr) - std::max(facts.st_mtim.tv_sec, facts.st_ctim.tv_sec) < kCoarse) return "";
  return fmt::format("{} {} {} {}.{:09} {}.{:09}", facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtim.tv_sec,
                     facts.st_mtim.tv_nsec, facts.st_ctim.tv_sec, facts.st_ctim.tv_nsec);
}

}  // namespace

std::string cached_sha256_file(const fs::path& path, const std::stop_token& stop) {
  const std::optional<fs::path> folder = cache_folder();
  const std::string identity = identity_of(path);
  std::error_code error;
  const fs::path canonical = fs::canonical(path, error);
  if (!folder || identity.empty() || error) return sha256_file(path, stop);

  const fs::path known = *folder / sha256_hex(canonical.string());
  std::ifstream stream(known);
  std::string of, hash;
  constexpr size_t kDigits = 64;
  if (std::getline(stream, of) && std::getline(stream, hash) && of == identity && hash.size() == kDigits) return hash;

  hash = sha256_file(path, stop);
  if (!stop.stop_requested() && identity_of(path) == identity) try {  // it was not written to meanwhile
      fs::create_directories(*folder, error);
      write_durable(known, identity + "\n" + hash + "\n");
    } catch (const Failure&) {
      return hash;
    } catch (const BadInput&) {
      return hash;
    }
  return hash;
}

}  // namespace spt
