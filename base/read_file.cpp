#include "base/read_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"

namespace spt {

void refuse_pipe(const std::filesystem::path& path) {
  std::error_code unknown;
  const std::filesystem::file_status status = std::filesystem::status(path, unknown);
  if (is_fifo(status) || is_socket(status))
    throw BadInput(fmt::format("{}: is a named pipe or a socket, expected a file", path.string()));
}

std::string read_file(const std::filesystem::path& path) {
  refuse_pipe(path);
  // Without O_NONBLOCK a named pipe would wait for its writer.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  ssize_t count = descriptor < 0 ? -1 : 0;
  std::string bytes;
  char block[1 << 16];
  while (descriptor >= 0 && ((count = read(descriptor, block, sizeof block)) > 0 || (count < 0 && errno == EINTR)))
    if (count > 0) bytes.append(block, static_cast<size_t>(count));
  const int reason = errno;
  if (descriptor >= 0) close(descriptor);
  if (count < 0) throw BadInput(fmt::format("{}: cannot be read: {}", path.string(), std::strerror(reason)));
  return bytes;
}

}  // namespace spt
