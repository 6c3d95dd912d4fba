#include "trainer/tensorboard.h"

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"

namespace spt {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

constexpr std::array<uint32_t, 256> crc32c_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value % 2 != 0 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}

uint32_t masked_crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc32c_table();
  uint32_t crc = 0xffffffffu;
  for (const char byte : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return std::rotr(~crc, 15) + 0xa282ead8u;
}

template <class T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

// Protobuf's wire format: a key is (field number, wire type), 0: varint, 1: 8 bytes, 2: length and bytes, 5: 4 bytes.
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string key(int field, int wire_type) {
  return varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type));
}
std::string varint_field(int field, int64_t value) {
  return key(field, 0) + varint(static_cast<uint64_t>(value));
}
std::string double_field(int field, double value) {
  return key(field, 1) + raw(value);
}
std::string bytes_field(int field, std::string_view bytes) {
  return key(field, 2) + varint(bytes.size()) + std::string(bytes);
}
std::string float_field(int field, float value) {
  return key(field, 5) + raw(value);
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// A name not in use: two resumes may happen within a second.
std::filesystem::path new_name(const std::filesystem::path& folder) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  for (auto seconds = static_cast<int64_t>(now());; ++seconds) {
    std::filesystem::path path = folder / fmt::format("events.out.tfevents.{:010}.{}", seconds, host);
    if (!std::filesystem::exists(path)) return path;
  }
}

}  // namespace

EventWriter::EventWriter(const std::filesystem::path& folder, int64_t resume_after_step) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Failure(fmt::format("{}: making the folder failed: {}", folder.string(), error.message()));
  path_ = new_name(folder);
  stream_.open(path_, std::ios::binary);
  write_event(0, bytes_field(3, "brain.Event:2"));
  if (resume_after_step > 0) write_event(resume_after_step + 1, bytes_field(7, varint_field(1, 1)));
  flush();
}

void EventWriter::add_scalar(std::string_view tag, int64_t step, double value) {
  const std::string scalar = bytes_field(1, tag) + float_field(2, static_cast<float>(value));
  write_event(step, bytes_field(5, bytes_field(1, scalar)));
}

void EventWriter::flush() {
  stream_.flush();
  if (!stream_) throw Failure(fmt::format("{}: writing failed: {}", path_.string(), std::strerror(errno)));
}

void EventWriter::write_event(int64_t step, std::string_view fields) {
  const std::string event = double_field(1, now()) + varint_field(2, step) + std::string(fields);
  const std::string size = raw<uint64_t>(event.size());
  stream_ << size << raw(masked_crc32c(size)) << event << raw(masked_crc32c(event));
}

}  // namespace spt
