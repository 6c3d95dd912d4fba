#include "data/duplicates.h"

#include <chrono>
#include <cstdlib>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "data/word_ngrams.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<std::string> found(const std::vector<std::string>& texts, size_t inputs) {
  std::vector<std::string> pairs;
  for (const DuplicatePair& pair : find_duplicates(texts, inputs))
    pairs.push_back((pair.exact ? "exact " : "near ") + std::to_string(pair.a) + " " + std::to_string(pair.b));
  return pairs;
}

TEST(Duplicates, TheSameWords_AreExact) {
  EXPECT_THAT(found({"How are you?", "Who is he?", "how ARE -- you"}, 3), ElementsAre("exact 0 2"));
  EXPECT_THAT(found({"one", "two", "One!"}, 3), ElementsAre("exact 0 2"));
  EXPECT_THAT(found({"?!", "...", ""}, 3), ElementsAre());
}

// 14 words have 10 runs of 5; another last word leaves 9 of 11 in both, another second but last leaves 8 of 12.
TEST(Duplicates, MostOfTheWords_AreNear) {
  const std::string text = "a b c d e f g h i j k l m";
  EXPECT_THAT(found({text + " n", text + " o"}, 2), ElementsAre("near 0 1"));
  EXPECT_NEAR(find_duplicates({text + " n", text + " o"}, 2)[0].similarity, 9.0 / 11, 1e-12);
  EXPECT_THAT(found({text + " n", "a b c d e f g h i j k l x n"}, 2), ElementsAre());
}

TEST(Duplicates, TextsOfOtherFiles_AreNotComparedWithEachOther) {
  EXPECT_THAT(found({"a b", "c d", "a b", "a b", "c d"}, 2), ElementsAre("exact 0 2", "exact 0 3", "exact 1 4"));
}

// The oracle compares all pairs.
TEST(Duplicates, EveryPair_IsFound) {
  std::mt19937 random(1);
  std::vector<std::string> texts;
  for (int i = 0; i < 400; ++i) {
    if (i > 0 && random() % 2 == 0) {
      std::string text = texts[random() % texts.size()];
      for (unsigned change = random() % 3; change > 0 && !text.empty(); --change)
        text[random() % text.size()] = static_cast<char>('a' + random() % 4);
      texts.push_back(text);
    } else {
      std::string text;
      for (unsigned word = random() % 40; word > 0; --word)
        text += std::string(1, static_cast<char>('a' + random() % 4)) + " ";
      texts.push_back(text);
    }
  }
  std::vector<std::string> expected;
  for (size_t a = 0; a < texts.size(); ++a)
    for (size_t b = a + 1; b < texts.size(); ++b) {
      const auto x = words_of(texts[a]), y = words_of(texts[b]);
      if (x.empty() || y.empty()) continue;
      const auto set = [](const std::vector<std::string>& words) {
        const auto hashes = ngram_hashes(words, std::min(kShingleWords, words.size()));
        return std::set<uint64_t>(hashes.begin(), hashes.end());
      };
      const auto p = set(x), q = set(y);
      size_t both = 0;
      for (const uint64_t hash : p) both += q.count(hash);
      const double similarity = static_cast<double>(both) / static_cast<double>(p.size() + q.size() - both);
      if (x == y || similarity >= kNearSimilarity)
        expected.push_back((x == y ? "exact " : "near ") + std::to_string(a) + " " + std::to_string(b));
    }
  EXPECT_GT(expected.size(), 100u);
  EXPECT_THAT(found(texts, texts.size()), ::testing::ElementsAreArray(expected));
}

class Report : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(Report, Table_NamesBothPlaces) {
  const DuplicatesConfig config{
      {folder_.put("in.jsonl", "{\"conversations\": [\"Why\\tso?\", \"a\"], \"id\": \"x\"}\n")},
      {folder_.put("test.jsonl", "{\"conversations\": [\"Who?\"]}\n{\"conversations\": [\"why so\"]}\n")},
      folder_ / "report.tsv"};
  const DuplicatesStatistics statistics = report_duplicates(config);
  EXPECT_EQ(statistics.questions, 3);
  EXPECT_EQ(statistics.exact, 1);
  EXPECT_EQ(statistics.near, 0);
  EXPECT_EQ(folder_.get("report.tsv"), "kind\tsimilarity\tplace\tid\tother_place\tother_id\ttext\nexact\t1.000\t" +
                                           (folder_ / "in.jsonl").string() + ":1\tx\t" +
                                           (folder_ / "test.jsonl").string() + ":2\t2\tWhy so?\n");
}

TEST_F(Report, Table_IsNotReplacedWithoutForce) {
  DuplicatesConfig config{
      {folder_.put("in.jsonl", "{\"conversations\": [\"q\", \"a\"]}\n")}, {}, folder_.put("r.tsv", "mine")};
  EXPECT_THROW(report_duplicates(config), BadInput);
  EXPECT_EQ(folder_.get("r.tsv"), "mine");
  config.force = true;
  report_duplicates(config);
  EXPECT_THAT(folder_.get("r.tsv"), StartsWith("kind\t"));
}

TEST_F(Report, Table_NeverReplacesWhatIsRead) {
  const std::string text = "{\"conversations\": [\"q\", \"a\"]}\n";
  DuplicatesConfig config{{folder_.put("in.jsonl", text)}, {folder_.put("test.jsonl", text)}, {}};
  config.force = true;
  for (const char* name : {"in.jsonl", "test.jsonl"}) {
    config.out = folder_ / "." / name;
    EXPECT_THROW(report_duplicates(config), BadInput);
    EXPECT_EQ(folder_.get(name), text);
  }
}

TEST_F(Report, LimasTestPromptInItsTrainingSet_IsFoundSoon) {
  const char* variable = std::getenv("SPT_SHARED_DATA");
  const std::filesystem::path lima =
      std::filesystem::path(variable != nullptr ? variable : SPT_SOURCE_DIR "/../shared/data") / "lima";
  if (!std::filesystem::exists(lima / "train.jsonl")) GTEST_SKIP() << "no LIMA in " << lima << " (SPT_SHARED_DATA)";
  const auto begin = std::chrono::steady_clock::now();
  const DuplicatesStatistics statistics =
      report_duplicates({{lima / "train.jsonl"}, {lima / "test.jsonl"}, folder_ / "report.tsv"});
  RecordProperty("seconds",
                 std::to_string(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()));
  EXPECT_EQ(statistics.questions, 1330);
  EXPECT_EQ(statistics.exact, 1);
  EXPECT_THAT(folder_.get("report.tsv"), ::testing::AllOf(HasSubstr("train.jsonl:548\t"), HasSubstr("test.jsonl:84\t"),
                                                          HasSubstr("make new friends")));
}

}  // namespace
}  // namespace spt
