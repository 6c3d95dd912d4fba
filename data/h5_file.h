// One-dimensional data sets and attributes of HDF5 files: as much of HDF5 as a corpus needs, and the only place that
// knows it. The library keeps global state and is not thread-safe: use these from one thread at a time, over all files.
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

// Builds a file in memory, so that writing it is one durable write and a full disk is met there. The bytes depend on
// what is written alone (no time stamps). Data sets: little-endian, chunks of `chunk` elements, deflate, Fletcher32;
// texts at fixed width, padded with NUL. The file's own structures carry checksums too (format of HDF5 1.10). Throws
// Failure.
class H5Writer {
 public:
  explicit H5Writer(int64_t chunk);
  ~H5Writer();
  H5Writer(const H5Writer&) = delete;
  H5Writer& operator=(const H5Writer&) = delete;

  void text_attribute(const std::string& name, std::string_view value);  // at most 60,000 bytes
  void int_attribute(const std::string& name, int64_t value);
  void write(const std::string& name, std::span<const int32_t> values);
  void write(const std::string& name, std::span<const uint8_t> values);
  void write(const std::string& name, std::span<const int64_t> values);
  void write(const std::string& name, std::span<const std::string> texts);  // without NUL in them

  std::string bytes();  // the finished file; call once, last

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spt
