#include "data/task_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "base/error.h"
#include "data/csv.h"
#include "data/field_text.h"
#include "data/gz_file.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

template <class Action>
std::string error(Action action) {
  try {
    action();
  } catch (const BadInput& bad) {
    return bad.what();
  }
  return "no error";
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

TEST(Csv, ReadsQuotedCellsWithCommasLineEndsAndQuotes) {
  const auto rows = parse_csv(
      "\xEF\xBB\xBF"
      "a,\"b,\n\"\"c\"\"\",\r\n\nd\"e,f,\"\"",
      "x.csv");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_THAT(rows[0].cells, ElementsAre("a", "b,\n\"c\"", ""));
  EXPECT_EQ(rows[0].line, 1);
  EXPECT_THAT(rows[1].cells, ElementsAre("d\"e", "f", ""));
  EXPECT_EQ(rows[1].line, 4);
}

TEST(Csv, RefusesAQuotedCellWithoutEndNamingWhereItBegins) {
  EXPECT_THAT(error([] { parse_csv("a\nb,\"c\nd", "x.csv"); }), HasSubstr("x.csv:2: a quoted cell has no end"));
  EXPECT_THAT(error([] { parse_csv("a\n\"b\"c,d", "x.csv"); }), HasSubstr("x.csv:2: text follows the closing quote"));
}

TEST(FieldText, FillsDottedPathsPlacesInListsAndBraces) {
  const json record = {{"q", {{"stem", "Why?"}}}, {"turns", {"first", "second"}}, {"n", 7}, {"yes", true}};
  EXPECT_EQ(FieldText("{{{q.stem}}} {turns.1} {n} {yes}").fill(record), "{Why?} second 7 true");
}

TEST(FieldText, NamesTheFieldThatIsMissingOrNoText) {
  const json record = {{"q", {{"stem", "Why?"}}}, {"turns", {"first"}}};
  EXPECT_EQ(error([&] { FieldText("{q.item}").fill(record); }), "has no field q.item");
  EXPECT_EQ(error([&] { FieldText("{turns.1}").fill(record); }), "has no field turns.1");
  EXPECT_EQ(error([&] { FieldText("{q}").fill(record); }), "field q is object, expected a text or a number");
}

TEST(FieldText, RefusesABraceWithoutItsOther) {
  EXPECT_THAT(error([] { FieldText("{a"); }), HasSubstr("a { without its }"));
  EXPECT_THAT(error([] { FieldText("a}"); }), HasSubstr("a } without its {"));
  EXPECT_THAT(error([] { FieldText("{}"); }), HasSubstr("without a name"));
}

class TaskFiles : public testing::Test {
 protected:
  std::vector<TaskRecord> read(TaskData data, const std::string& id = "") {
    return read_task_data(folder_.path(), data, id);
  }
  TemporaryFolder folder_;
};

TEST_F(TaskFiles, JsonLinesAreCalledByTheirLine) {
  folder_.put("t.jsonl", "{\"q\": \"a\"}\n\n{\"q\": \"b\"}");
  const auto records = read({.path = "t.jsonl"});
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].id, "1");
  EXPECT_EQ(records[1].id, "3");
  EXPECT_EQ(records[1].fields["q"], "b");
  EXPECT_THAT(records[1].where, HasSubstr("t.jsonl:3"));
}

TEST_F(TaskFiles, RecordsOfAGlobAreCalledByFileAndLine) {
  folder_.put("b_test.csv", "q,A\n");
  folder_.put("a_test.csv", "x,B\n\"y\nz\",C\n");
  folder_.put("a_dev.csv", "no,D\n");
  const auto records = read({.path = "*_test.csv", .format = TaskFormat::kCsv, .columns = {"question", "answer"}});
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[0].id, "a_test:1");
  EXPECT_EQ(records[1].fields["question"], "y\nz");
  EXPECT_EQ(records[2].id, "b_test:1");
}

TEST_F(TaskFiles, CsvWithoutColumnsTakesThemFromItsFirstRow) {
  folder_.put("t.csv", "question,answer\nx,y\n");
  const auto records = read({.path = "t.csv", .format = TaskFormat::kCsv});
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].fields["answer"], "y");
  EXPECT_EQ(records[0].id, "2");
}

TEST_F(TaskFiles, JsonTakesItsListFromAPathAndFilesFromBraces) {
  folder_.put("train.json", R"({"a": {"list": [{"qid": "x"}]}})");
  folder_.put("dev.json", R"({"a": {"list": [{"qid": 7}]}})");
  const auto records = read({.path = "{train,dev}.json", .format = TaskFormat::kJson, .records = "a.list"}, "qid");
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].id, "7");
  EXPECT_EQ(records[1].id, "x");
}

TEST_F(TaskFiles, GzipIsUnpacked) {
  folder_.put("t.jsonl.gz", gzip("{\"q\": \"a\"}\n"));
  EXPECT_EQ(read({.path = "t.jsonl.gz"})[0].fields["q"], "a");
}

TEST_F(TaskFiles, DamagedGzipIsRefused) {
  std::string packed = gzip(std::string(5000, 'a') + "b");
  folder_.put("cut.gz", packed.substr(0, packed.size() - 9));
  EXPECT_THAT(error([&] { read_gz_or_plain(folder_ / "cut.gz", 1 << 20); }), HasSubstr("cut.gz: cannot be unpacked"));
  packed[packed.size() - 6] ^= 1;  // of its checksum
  folder_.put("flipped.gz", packed);
  EXPECT_THAT(error([&] { read_gz_or_plain(folder_ / "flipped.gz", 1 << 20); }), HasSubstr("cannot be unpacked"));
}

TEST_F(TaskFiles, AFileThatUnpacksToMoreThanTheLimitIsRefused) {
  folder_.put("bomb.gz", gzip(std::string(5 << 20, 'a')));
  EXPECT_THAT(error([&] { read_gz_or_plain(folder_ / "bomb.gz", 1 << 20); }), HasSubstr("more than 1048576 bytes"));
}

TEST_F(TaskFiles, WhatIsNoBenchmarkIsRefusedWithItsPlace) {
  EXPECT_THAT(error([&] { read({.path = "none*.jsonl"}); }),
              AllOf(HasSubstr("none*.jsonl"), HasSubstr("eval.data.root")));
  folder_.put("t.jsonl", "{}\n{\n");
  EXPECT_THAT(error([&] { read({.path = "t.jsonl"}); }), HasSubstr("t.jsonl:2: is not JSON"));
  folder_.put("t.jsonl", "{}\n[]\n");
  EXPECT_THAT(error([&] { read({.path = "t.jsonl"}); }), HasSubstr("t.jsonl:2: is array, expected an object"));
  folder_.put("t.jsonl", "{\"id\": 1}\n{\"id\": 1}\n");
  EXPECT_THAT(error([&] { read({.path = "t.jsonl"}, "id"); }),
              AllOf(HasSubstr("t.jsonl:2: the id '1' stands at"), HasSubstr("t.jsonl:1 already")));
  EXPECT_THAT(error([&] { read({.path = "t.jsonl"}, "q"); }), HasSubstr("t.jsonl:1: has no field q (the task's id)"));
  folder_.put("t.jsonl", "{\"q\": \"\xFF\"}");
  EXPECT_THAT(error([&] { read({.path = "t.jsonl"}); }), HasSubstr("is not UTF-8"));
  folder_.put("t.jsonl", "\n");
  EXPECT_THAT(error([&] { read({.path = "t.jsonl"}); }), HasSubstr("has no records"));
  folder_.put("t.csv", "a,b\nc\n");
  EXPECT_THAT(error([&] {
                read({.path = "t.csv", .format = TaskFormat::kCsv, .columns = {"x", "y"}});
              }),
              HasSubstr("t.csv:2: has 1 cells, expected 2 (x, y)"));
  folder_.put("t.json", "{}");
  EXPECT_THAT(error([&] { read({.path = "t.json", .format = TaskFormat::kJson}); }), HasSubstr("data.records"));
  EXPECT_THAT(error([&] { read({.path = "t.json", .format = TaskFormat::kJson, .records = "a"}); }),
              HasSubstr("has no list at data.records 'a'"));
}

TEST(TaskDataPath, StaysBelowTheRoot) {
  for (const char* good : {"gsm8k/test.jsonl", "mmlu/test/*_test.csv", "{train,dev}.json", "a..b/..c", "./a", ""})
    EXPECT_TRUE(stays_below_root(good)) << good;
  for (const char* bad :
       {"/etc/passwd", "../a", "a/../../b", "a/..", "{../a,b}/c", "{a,..}/b", "{/etc,a}/b", "{a,/etc}/b"})
    EXPECT_FALSE(stays_below_root(bad)) << bad;
  std::vector<std::string> errors;
  TaskData{.path = "../secret.jsonl"}.validate(errors);
  EXPECT_THAT(errors, ElementsAre("path is ../secret.jsonl, must lie below eval.data.root: relative, without .."));
}

}  // namespace
}  // namespace spt
