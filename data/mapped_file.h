// A whole file in memory, read-only. Its pages are the kernel's: a file may be larger than memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace spt {

class MappedFile {
 public:
  // Throws BadInput for a file that is missing, unreadable, empty or not a regular one.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  std::byte* bytes() const { return bytes_; }  // writing there is a crash
  size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_), size_}; }
  // Takes the pages of [begin, end) out of this process's resident memory; they can still be read.
  void give_back(size_t begin, size_t end) const;

 private:
  std::byte* bytes_ = nullptr;
  size_t size_ = 0;
};

}  // namespace spt
