// What the fuzz targets share. A target may refuse its input with BadInput; anything else that leaves it is a crash
// that libFuzzer keeps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/error.h"

namespace spt {

// Calls `body` and takes BadInput for an answer, if it has a message.
template <class F>
void may_refuse(F&& body) {
  try {
    body();
  } catch (const BadInput& error) {
    if (std::string_view(error.what()).empty()) std::abort();
  }
}

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A folder in memory, made once a process, for readers that want files.
class FuzzFolder {
 public:
  FuzzFolder() {
    std::string pattern = "/dev/shm/spt-fuzz-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~FuzzFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FuzzFolder(const FuzzFolder&) = delete;
  FuzzFolder& operator=(const FuzzFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path put(const char* name, std::string_view bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace spt
