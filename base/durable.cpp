#include "base/durable.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, const char* action) {
  throw Failure(fmt::format("{}: {} failed: {}", path.string(), action, std::strerror(errno)));
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

DurableFile::DurableFile(fs::path path)
    : path_(std::move(path)), descriptor_(open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) fail(path_, "creating");
}

DurableFile::~DurableFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(path_.c_str());
}

void DurableFile::write(const void* bytes, size_t size) {
  const char* next = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, next, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail(path_, "writing");
    }
    next += written;
    size -= static_cast<size_t>(written);
  }
}

void DurableFile::commit() {
  while (fsync(descriptor_) != 0)
    if (errno != EINTR) fail(path_, "syncing");
  // NFS reports a full disk only here.
  if (close(std::exchange(descriptor_, -1)) != 0) {
    const int reason = errno;
    unlink(path_.c_str());
    errno = reason;
    fail(path_, "closing");
  }
}

void sync_file(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail(path, "opening");
  const int result = fsync(descriptor);
  const int reason = errno;
  close(descriptor);
  errno = reason;
  if (result != 0) fail(path, "syncing");
}

void sync_folder(const fs::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail(folder, "opening the folder");
  const int result = fsync(descriptor);
  const int reason = errno;
  close(descriptor);
  errno = reason;
  // Some network file systems cannot sync a folder and say EINVAL; the rename is then as durable as they make it.
  if (result != 0 && reason != EINVAL) fail(folder, "syncing the folder");
}

void write_durable(const fs::path& path, std::string_view bytes) {
  const fs::path partial = path.string() + ".partial";
  DurableFile file(partial);
  file.write(bytes);
  file.commit();
  try {
    rename_durable(partial, path);
  } catch (...) {
    unlink(partial.c_str());  // gone already when only the folder's sync failed
    throw;
  }
}

void require_writable(const fs::path& folder, std::string_view option) {
  std::error_code error;
  if (!fs::is_directory(folder, error))
    throw BadInput(fmt::format("{}: {}: {}", option, folder.string(),
                               std::strerror(fs::exists(folder, error) ? ENOTDIR : ENOENT)));
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    throw BadInput(fmt::format("{}: nothing can be written to {}: {}", option, folder.string(), std::strerror(errno)));
  // A system folder such as /proc lets root write and yet takes nothing. A full disk is said when something is written.
  std::string probe = (folder / ".spt-XXXXXX").string();
  if (mkdtemp(probe.data()) != nullptr)
    rmdir(probe.c_str());
  else if (errno != ENOSPC && errno != EDQUOT)
    throw BadInput(fmt::format("{}: nothing can be made in {}: {}", option, folder.string(), std::strerror(errno)));
}

void require_writable_below(const fs::path& folder, std::string_view option) {
  std::error_code error;
  if (fs::exists(folder, error); error == std::errc::filename_too_long)
    throw BadInput(fmt::format("{}: {}: {}", option, folder.string(), error.message()));
  fs::path nearest = fs::absolute(folder);
  while (!fs::exists(nearest, error) && nearest.has_relative_path()) nearest = nearest.parent_path();
  require_writable(nearest, option);
}

void require_no_device(const fs::path& path) {
  std::error_code error;
  const fs::file_status there = fs::status(path, error);
  if (fs::exists(there) && !fs::is_regular_file(there) && !fs::is_directory(there))
    throw BadInput(fmt::format("{}: is a device, pipe or socket, which no output replaces", path.string()));
}

void rename_durable(const fs::path& from, const fs::path& to) {
  require_no_device(to);
  if (std::rename(from.c_str(), to.c_str()) != 0) fail(to, "renaming to it");
  sync_folder(folder_of(to));
}

}  // namespace spt
