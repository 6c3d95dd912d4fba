// Files that survive a crash: written under another name, synced, renamed, and the folder synced. Every failure (a full
// disk, a lost mount) throws Failure with the path and the system's reason; nothing half-written keeps the final name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace spt {

// A new file, written front to back. Unless `commit` was called, the destructor removes it.
class DurableFile {
 public:
  // Truncates an existing file of that name. The folder must exist.
  explicit DurableFile(std::filesystem::path path);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void write(const void* bytes, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();  // sync and close; the file stays under `path`

 private:
  std::filesystem::path path_;
  int descriptor_;
};

void sync_file(const std::filesystem::path& path);  // one that a library wrote
void sync_folder(const std::filesystem::path& folder);

// Replaces `path` as a whole: readers see the old bytes or the new ones, also after a power cut.
void write_durable(const std::filesystem::path& path, std::string_view bytes);

// Throws BadInput, naming `option`, where no file can be made in `folder`: to be asked before hours of work.
void require_writable(const std::filesystem::path& folder, std::string_view option);
// The same for a folder that need not exist yet: the nearest one above it that does is asked.
void require_writable_below(const std::filesystem::path& folder, std::string_view option);

// Throws BadInput where `path` is a device, pipe or socket: as root even /dev/null could be replaced by a file.
void require_no_device(const std::filesystem::path& path);

// Renames, then syncs the parent folder. Throws BadInput as require_no_device.
void rename_durable(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace spt
