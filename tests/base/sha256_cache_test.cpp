#include "base/sha256_cache.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "base/sha256.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

class Sha256Cache : public testing::Test {
 protected:
  void SetUp() override {
    setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    write("first");
  }
  void TearDown() override { unsetenv("XDG_CACHE_HOME"); }
  void write(const std::string& text) {
    std::ofstream(file_) << text;
    std::this_thread::sleep_for(std::chrono::milliseconds(2100));  // until its times can be told from later ones
  }
  fs::path remembered() const { return fs::directory_iterator(folder_ / "cache/spt/sha256")->path(); }

  TemporaryFolder folder_;
  fs::path file_ = folder_ / "file";
};

TEST_F(Sha256Cache, AFileThatIsTheSame_IsNotReadAgain) {
  EXPECT_EQ(cached_sha256_file(file_), sha256_hex("first"));
  std::string text;
  {
    std::ifstream stream(remembered());
    text.assign(std::istreambuf_iterator<char>(stream), {});
  }
  const std::string other(64, 'a');
  std::ofstream(remembered()) << text.substr(0, text.find('\n') + 1) << other << "\n";
  EXPECT_EQ(cached_sha256_file(file_), other) << "what is remembered is believed";
}

TEST_F(Sha256Cache, AFileOfAnotherSizeOrTime_IsReadAgain) {
  cached_sha256_file(file_);
  write("longer");
  EXPECT_EQ(cached_sha256_file(file_), sha256_hex("longer"));
  const auto time = fs::last_write_time(file_);
  write("equal!");
  fs::last_write_time(file_, time);  // as rsync -t does; the file's change is seen all the same
  EXPECT_EQ(cached_sha256_file(file_), sha256_hex("equal!"));
}

TEST_F(Sha256Cache, AFileThatChangedJustNow_IsNotRemembered) {
  std::ofstream(file_) << "second";
  EXPECT_EQ(cached_sha256_file(file_), sha256_hex("second"));
  EXPECT_FALSE(fs::exists(folder_ / "cache/spt/sha256"));
}

TEST_F(Sha256Cache, WhatIsRememberedAndBroken_IsMadeAnew) {
  cached_sha256_file(file_);
  std::ofstream(remembered()) << "broken";
  EXPECT_EQ(cached_sha256_file(file_), sha256_hex("first"));
}

TEST_F(Sha256Cache, WithoutAPlaceToRemember_IsStillRight) {
  std::ofstream(folder_ / "cache") << "a file where the folder should be";
  EXPECT_EQ(cached_sha256_file(file_), sha256_hex("first"));
}

}  // namespace
}  // namespace spt
