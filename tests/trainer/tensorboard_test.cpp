#include "trainer/tensorboard.h"

#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

// A decoder of its own: CRC bit by bit, protobuf by the wire format.
uint32_t masked_crc(const std::string& bytes) {
  uint64_t crc = 0xffffffff;
  for (const unsigned char byte : bytes)
    for (int bit = 0; bit < 8; ++bit) {
      const bool feedback = ((crc ^ (byte >> bit)) & 1) != 0;
      crc >>= 1;
      if (feedback) crc ^= 0x82f63b78;
    }
  crc ^= 0xffffffff;
  return static_cast<uint32_t>(((crc >> 15) | (crc << 17)) + 0xa282ead8);
}

template <class T>
T take(const std::string& bytes, size_t& at) {
  T value{};
  std::memcpy(&value, bytes.substr(at, sizeof value).data(), sizeof value);
  at += sizeof value;
  return value;
}

uint64_t take_varint(const std::string& bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.at(at++));
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

// Field number → raw bytes (a varint as 8 bytes).
std::map<int, std::string> message(const std::string& bytes) {
  std::map<int, std::string> fields;
  for (size_t at = 0; at < bytes.size();) {
    const uint64_t key = take_varint(bytes, at);
    std::string& value = fields[static_cast<int>(key >> 3)];
    if (key % 8 == 0) {
      const uint64_t number = take_varint(bytes, at);
      value.assign(reinterpret_cast<const char*>(&number), sizeof number);
      continue;
    }
    const size_t size = key % 8 == 1 ? 8 : key % 8 == 5 ? 4 : take_varint(bytes, at);
    value = bytes.substr(at, size);
    EXPECT_EQ(value.size(), size);
    at += size;
  }
  return fields;
}

template <class T>
T as(const std::string& bytes) {
  size_t at = 0;
  EXPECT_EQ(bytes.size(), sizeof(T));
  return take<T>(bytes, at);
}

std::vector<std::map<int, std::string>> events(const std::string& bytes) {
  std::vector<std::map<int, std::string>> found;
  for (size_t at = 0; at < bytes.size();) {
    const std::string size_bytes = bytes.substr(at, 8);
    const auto size = take<uint64_t>(bytes, at);
    EXPECT_EQ(take<uint32_t>(bytes, at), masked_crc(size_bytes));
    const std::string event = bytes.substr(at, size);
    EXPECT_EQ(event.size(), size);
    at += size;
    EXPECT_EQ(take<uint32_t>(bytes, at), masked_crc(event));
    found.push_back(message(event));
  }
  return found;
}

std::string only_file(const fs::path& folder) {
  std::string name;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    EXPECT_EQ(name, "");
    name = entry.path().filename().string();
  }
  return name;
}

TEST(EventWriter, ChecksumsAreThoseOfTheFormat) {
  // CRC-32C of "123456789" is 0xe3069283 (RFC 3720, catalogue of CRCs).
  EXPECT_EQ(masked_crc("123456789"), ((0xe3069283u >> 15) | (0xe3069283u << 17)) + 0xa282ead8u);
}

TEST(EventWriter, ScalarsAreRecordsWithTagAndStep) {
  const TemporaryFolder folder;
  {
    EventWriter writer(folder / "tensorboard", 0);
    writer.add_scalar("train/loss", 1, 2.5);
    writer.add_scalar(std::string(300, 'x'), int64_t{1} << 40, -1e-3);
    writer.add_scalar("nan", 3, std::nan(""));
  }
  const std::string name = only_file(folder / "tensorboard");
  EXPECT_EQ(name.rfind("events.out.tfevents.", 0), 0u) << name;
  const auto found = events(folder.get("tensorboard/" + name));
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].at(3), "brain.Event:2");
  EXPECT_GT(as<double>(found[0].at(1)), 1.6e9);
  EXPECT_EQ(as<int64_t>(found[1].at(2)), 1);
  EXPECT_EQ(message(message(found[1].at(5)).at(1)).at(1), "train/loss");
  EXPECT_EQ(as<float>(message(message(found[1].at(5)).at(1)).at(2)), 2.5f);
  EXPECT_EQ(as<int64_t>(found[2].at(2)), int64_t{1} << 40);
  EXPECT_EQ(message(message(found[2].at(5)).at(1)).at(1), std::string(300, 'x'));
  EXPECT_EQ(as<float>(message(message(found[2].at(5)).at(1)).at(2)), -1e-3f);
  EXPECT_TRUE(std::isnan(as<float>(message(message(found[3].at(5)).at(1)).at(2))));
}

TEST(EventWriter, ResumingBeginsAnotherFileWithASessionStart) {
  const TemporaryFolder folder;
  EventWriter(folder.path(), 0).add_scalar("loss", 1, 1);
  const std::string first = only_file(folder.path());
  const std::string before = folder.get(first);
  EventWriter(folder.path(), 7).add_scalar("loss", 8, 1);
  EXPECT_EQ(folder.get(first), before);
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.path()))
    names.insert(entry.path().filename().string());
  ASSERT_EQ(names.size(), 2u);
  EXPECT_EQ(*names.begin(), first);  // TensorBoard reads files in the order of their names
  const auto found = events(folder.get(*names.rbegin()));
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(as<int64_t>(found[1].at(2)), 8);
  EXPECT_EQ(as<int64_t>(message(found[1].at(7)).at(1)), 1);
}

TEST(EventWriter, StepsOfAnySizeAreWritten) {
  const TemporaryFolder folder;
  const std::vector<int64_t> steps{1, 127, 128, 129, 16383, 16384, int64_t{1} << 40, INT64_MAX};
  {
    EventWriter writer(folder.path(), 0);
    for (const int64_t step : steps) writer.add_scalar("loss", step, 1);
  }
  const auto found = events(folder.get(only_file(folder.path())));
  ASSERT_EQ(found.size(), steps.size() + 1);
  for (size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(as<int64_t>(found[i + 1].at(2)), steps[i]);
}

TEST(EventWriter, FlushedScalarsAreInTheFile) {
  const TemporaryFolder folder;
  EventWriter writer(folder.path(), 0);
  writer.add_scalar("loss", 1, 1);
  writer.flush();
  EXPECT_EQ(events(folder.get(only_file(folder.path()))).size(), 2u);
}

TEST(EventWriter, AFolderThatCannotBeMadeIsAFailure) {
  const TemporaryFolder folder;
  folder.put("file", "");
  EXPECT_THROW(EventWriter(folder / "file/tensorboard", 0), Failure);
}

}  // namespace
}  // namespace spt
