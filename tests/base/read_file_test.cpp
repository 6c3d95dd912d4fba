#include "base/read_file.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

TEST(ReadFile, GivesEveryByte) {
  const TemporaryFolder folder;
  const std::string bytes = std::string(200'000, 'x') + std::string("\0\n", 2);
  EXPECT_EQ(read_file(folder.put("file", bytes)), bytes);
  EXPECT_EQ(read_file(folder.put("empty", "")), "");
}

TEST(ReadFile, WhatCannotBeReadIsNamed) {
  const TemporaryFolder folder;
  for (const std::filesystem::path& path : {folder.path(), folder / "missing", folder / std::string(300, 'x')}) try {
      read_file(path);
      FAIL() << path;
    } catch (const BadInput& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(path.string() + ": cannot be read: "));
    }
}

}  // namespace
}  // namespace spt
