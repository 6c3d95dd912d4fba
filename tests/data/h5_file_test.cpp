#include "data/h5_file.h"

#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class H5File : public ::testing::Test {
 protected:
  std::filesystem::path make() {
    H5Writer writer(folder_ / "f.h5", 4096);
    writer.text_attribute("name", "größe");
    writer.text_attribute("empty", "");
    writer.int_attribute("number", -7);
    writer.append("small", std::span<const uint8_t>(std::vector<uint8_t>{1, 0, 255}));
    writer.append("ids", std::span<const int32_t>(ids_).first(7));
    writer.append("offsets", std::span<const int64_t>(std::vector<int64_t>{0}));
    writer.append("ids", std::span<const int32_t>(ids_).subspan(7));
    writer.append("offsets", std::span<const int64_t>(std::vector<int64_t>{int64_t{1} << 40}));
    writer.append("texts", 6, std::span<const std::string>(std::vector<std::string>{"a", "", "ééé"}));
    writer.append("nil", std::span<const int32_t>());
    writer.commit();
    return folder_ / "f.h5";
  }
  void SetUp() override {
    for (int32_t i = 0; i < kIds; ++i) ids_.push_back(i * 7919 % 32'000);
  }
  template <class Action>
  std::string error(Action action) {
    try {
      action();
    } catch (const BadInput& bad) {
      EXPECT_THAT(bad.what(), HasSubstr("f.h5"));
      return bad.what();
    }
    return "no error";
  }
  static constexpr int32_t kIds = 200'000;  // more than a writer gathers
  TemporaryFolder folder_;
  std::vector<int32_t> ids_;
};

TEST_F(H5File, Read_GivesBackWhatWasWritten) {
  const H5Reader reader(make());
  EXPECT_EQ(reader.text_attribute("name"), "größe");
  EXPECT_EQ(reader.text_attribute("empty"), "");
  EXPECT_EQ(reader.int_attribute("number"), -7);
  EXPECT_TRUE(reader.has_attribute("name"));
  EXPECT_FALSE(reader.has_attribute("none"));
  EXPECT_EQ(reader.size("ids"), kIds);
  EXPECT_EQ(reader.size("nil"), 0);
  EXPECT_TRUE(reader.has_data_set("nil"));
  EXPECT_FALSE(reader.has_data_set("none"));
  std::vector<int32_t> all(kIds), part(5000);
  reader.read("ids", 0, std::span(all));
  EXPECT_EQ(all, ids_);
  reader.read("ids", 3000, std::span(part));
  EXPECT_TRUE(std::equal(part.begin(), part.end(), ids_.begin() + 3000));
  std::vector<uint8_t> small(3);
  reader.read("small", 0, std::span(small));
  EXPECT_THAT(small, ElementsAre(1, 0, 255));
  std::vector<int64_t> offsets(2);
  reader.read("offsets", 0, std::span(offsets));
  EXPECT_THAT(offsets, ElementsAre(0, int64_t{1} << 40));
  EXPECT_THAT(reader.read_texts("texts", 0, 3), ElementsAre("a", "", "ééé"));
  EXPECT_THAT(reader.read_texts("texts", 1, 1), ElementsAre(""));
}

TEST_F(H5File, Write_GivesTheSameBytesEachTime) {
  const std::string first = folder_.get(make().filename());
  EXPECT_EQ(first, folder_.get(make().filename()));
}

TEST_F(H5File, Read_WorksInAFolderThatCannotBeWritten) {
  const auto path = make();
  std::filesystem::permissions(path, std::filesystem::perms::owner_read);
  const H5Reader one(path), two(path);
  EXPECT_EQ(one.size("ids"), two.size("ids"));
}

TEST_F(H5File, Read_RefusesAnotherTypeNameOrRange) {
  const H5Reader reader(make());
  std::vector<int32_t> int32(2);
  std::vector<int64_t> int64(2);
  std::vector<uint8_t> uint8(2);
  EXPECT_THAT(error([&] { reader.read("ids", 0, std::span(int64)); }),
              HasSubstr("ids must hold signed integers of 64 bits"));
  EXPECT_THAT(error([&] { reader.read("ids", 0, std::span(uint8)); }),
              HasSubstr("ids must hold unsigned integers of 8 bits"));
  EXPECT_THAT(error([&] { reader.read("texts", 0, std::span(int32)); }), HasSubstr("texts must hold signed integers"));
  EXPECT_THAT(error([&] { reader.read_texts("ids", 0, 1); }), HasSubstr("ids must hold texts"));
  EXPECT_THAT(error([&] { reader.size("none"); }), HasSubstr("no data set \"none\""));
  EXPECT_THAT(error([&] { reader.text_attribute("none"); }), HasSubstr("no attribute \"none\""));
  EXPECT_THAT(error([&] { reader.text_attribute("number"); }), HasSubstr("number must be one text"));
  EXPECT_THAT(error([&] { reader.int_attribute("name"); }), HasSubstr("name must be one integer"));
  for (const int64_t begin : {int64_t{-1}, int64_t{kIds - 1}, int64_t{1} << 62})
    EXPECT_THAT(error([&] { reader.read("ids", begin, std::span(int32)); }), HasSubstr("data set ids has 200000"));
  EXPECT_THAT(error([&] { reader.read_texts("texts", 0, int64_t{1} << 62); }), HasSubstr("data set texts has 3"));
}

TEST_F(H5File, Open_RefusesWhatIsNoHdf5) {
  EXPECT_THAT(error([&] { H5Reader(folder_ / "none_f.h5"); }), HasSubstr("No such file"));
  EXPECT_THAT(error([&] { H5Reader(folder_.put("f.h5", "")); }), HasSubstr("is not an HDF5 file"));
  EXPECT_THAT(error([&] { H5Reader(folder_.put("f.h5", "{\"conversations\": []}")); }),
              HasSubstr("is not an HDF5 file"));
  std::filesystem::create_directory(folder_ / "folder_f.h5");
  EXPECT_THAT(error([&] { H5Reader(folder_ / "folder_f.h5"); }), HasSubstr("is not a file"));
}

TEST_F(H5File, Read_OfATruncatedFileIsRefused) {
  const std::string whole = folder_.get(make().filename());
  for (size_t size = 0; size < whole.size();
       size = size < whole.size() - 1 ? std::min(size + 997, whole.size() - 1) : whole.size())
    EXPECT_NE(error([&] { H5Reader(folder_.put("f.h5", whole.substr(0, size))); }), "no error") << size;
}

TEST_F(H5File, Write_RefusesTextLargerThanAnAttribute) {
  H5Writer writer(folder_ / "f.h5", 4096);
  EXPECT_THROW(writer.text_attribute("name", std::string(60'001, 'x')), Failure);
}

TEST_F(H5File, Write_RefusesATextLongerThanItsWidth) {
  H5Writer writer(folder_ / "f.h5", 4096);
  const std::vector<std::string> texts = {"abc"};
  EXPECT_THROW(writer.append("texts", 2, std::span(texts)), Failure);
}

TEST_F(H5File, Write_WithoutCommitLeavesNoFile) {
  {
    H5Writer writer(folder_ / "f.h5", 4096);
    writer.append("ids", std::span<const int32_t>(ids_));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "f.h5"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "f.h5"));
}

// Readers of several files on several threads, as in training: one reads ahead while another validates.
TEST_F(H5File, Read_FromSeveralThreadsAtOnceGivesTheSame) {
  const auto path = make();
  std::vector<std::future<bool>> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.push_back(std::async(std::launch::async, [&] {
      bool same = true;
      for (int round = 0; round < 20; ++round) {
        const H5Reader reader(path);
        std::vector<int32_t> all(kIds);
        reader.read("ids", 0, std::span(all));
        same = same && all == ids_;
      }
      return same;
    }));
  for (auto& thread : threads) EXPECT_TRUE(thread.get());
}

}  // namespace
}  // namespace spt
