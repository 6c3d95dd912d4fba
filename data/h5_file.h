// One-dimensional data sets and attributes of HDF5 files: as much of HDF5 as a corpus needs, and the only place that
// knows it. The library keeps global state: calls from several threads wait for each other, over all files, also those
// of one reader. A writer is for one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spt {

std::string hdf5_version();  // "1.10.8"

// A file opened read-only, file locking off (Lustre, NFS). Every member throws BadInput naming file and data set: no
// such name, another type or rank, not chunked or without Fletcher32, larger than the file can hold, a failed checksum.
class H5Reader {
 public:
  // Throws BadInput: missing, not HDF5, truncated.
  explicit H5Reader(std::filesystem::path path);
  ~H5Reader();
  H5Reader(const H5Reader&) = delete;
  H5Reader& operator=(const H5Reader&) = delete;

  bool has_attribute(const std::string& name) const;
  std::string text_attribute(const std::string& name) const;
  int64_t int_attribute(const std::string& name) const;

  bool has_data_set(const std::string& name) const;
  int64_t size(const std::string& name) const;  // elements of a data set
  // Elements [begin, begin + out.size()), which must be in the data set.
  void read(const std::string& name, int64_t begin, std::span<int32_t> out) const;
  void read(const std::string& name, int64_t begin, std::span<uint8_t> out) const;
  void read(const std::string& name, int64_t begin, std::span<int64_t> out) const;
  std::vector<std::string> read_texts(const std::string& name, int64_t begin, int64_t count) const;

  const std::filesystem::path& path() const { return path_; }

 private:
  struct Impl;
  std::filesystem::path path_;
  std::unique_ptr<Impl> impl_;
};

// Writes a file piece by piece, in memory that does not grow with it. The bytes depend on what is written alone (no
// time stamps). Data sets: little-endian, chunks of `chunk` elements, deflate, Fletcher32; texts at fixed width, padded
// with NUL. The file's own structures carry checksums too (format of HDF5 1.10). Throws Failure with the path.
class H5Writer {
 public:
  // Replaces an existing file. Unless `commit` was called, the destructor removes it.
  H5Writer(std::filesystem::path path, int64_t chunk);
  ~H5Writer();
  H5Writer(const H5Writer&) = delete;
  H5Writer& operator=(const H5Writer&) = delete;

  void text_attribute(const std::string& name, std::string_view value);  // at most 60,000 bytes
  void int_attribute(const std::string& name, int64_t value);
  // At the end of a data set, which the first call makes.
  void append(const std::string& name, std::span<const int32_t> values);
  void append(const std::string& name, std::span<const uint8_t> values);
  void append(const std::string& name, std::span<const int64_t> values);
  // `width`: bytes of the longest text that will come, the same at each call. No text has a NUL in it.
  void append(const std::string& name, size_t width, std::span<const std::string> texts);

  void commit();  // writes what is left, closes, syncs; call once, last

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spt
