#include "data/gz_file.h"

#include <cerrno>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <zlib.h>

#include "base/error.h"

namespace spt {

std::string read_gz_or_plain(const std::filesystem::path& path, size_t limit) {
  const auto fail = [&](const std::string& message) { throw BadInput(fmt::format("{}: {}", path.string(), message)); };
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) fail(error ? error.message() : "is not a regular file");
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) fail(fmt::format("cannot be read: {}", std::strerror(errno)));
  std::string text;
  constexpr unsigned kPart = 1 << 20;
  while (true) {
    const size_t size = text.size();
    text.resize(size + kPart);
    const int read = gzread(file.get(), text.data() + size, kPart);
    int code = Z_OK;
    const char* reason = gzerror(file.get(), &code);
    // A file that ends too soon is told apart from its end by the code alone.
    if (read < 0 || (code != Z_OK && code != Z_STREAM_END))
      fail(fmt::format("cannot be unpacked: {}; copy or download it again", reason));
    text.resize(size + static_cast<size_t>(read));
    if (text.size() > limit) fail(fmt::format("has more than {} bytes of text, the limit", limit));
    if (read == 0) return text;
  }
}

}  // namespace spt
