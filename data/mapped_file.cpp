#include "data/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace spt {

MappedFile::MappedFile(const std::filesystem::path& path) {
  // Without O_NONBLOCK a named pipe would wait for its writer.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw BadInput(fmt::format("{}: cannot be read: {}", path.string(), std::strerror(errno)));
  struct stat status {};
  const bool is_regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  void* address = MAP_FAILED;
  int reason = 0;
  if (is_regular && status.st_size > 0) {
    size_ = static_cast<size_t>(status.st_size);
    address = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    reason = errno;
  }
  close(descriptor);
  if (!is_regular) throw BadInput(fmt::format("{}: is not a regular file", path.string()));
  if (status.st_size == 0) throw BadInput(fmt::format("{}: is empty; copy or download it again", path.string()));
  if (address == MAP_FAILED) throw Failure(fmt::format("{}: mapping failed: {}", path.string(), std::strerror(reason)));
  bytes_ = static_cast<std::byte*>(address);
  madvise(bytes_, size_, MADV_SEQUENTIAL);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (bytes_ != nullptr) munmap(bytes_, size_);
}

void MappedFile::give_back(size_t begin, size_t end) const {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  begin = begin / page * page;
  madvise(bytes_ + begin, end - begin, MADV_DONTNEED);
}

}  // namespace spt
