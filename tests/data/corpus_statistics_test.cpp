#include "data/corpus_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/corpus_row.h"
#include "tests/data/fake_tokenizer.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

constexpr const char* kTemplate =
    "system: \"\"\nstart: \"{system}{user}:\"\nstart_without_system: \"{user}:\"\nanswer: \" {assistant}{eos}\"\n"
    "next: \"{user}:\"\n";

Record record(const std::string& question, const std::string& answer, const std::string& role,
              const std::string& source) {
  Record made;
  made.turns = {question, answer};
  made.role = role;
  made.source = source;
  return made;
}

class RoleCorpus : public testing::Test {
 protected:
  explicit RoleCorpus(Arm arm = Arm::kRole) {
    const ChatTemplate chat_template = ChatTemplate::parse(kTemplate, "t.yaml");
    CorpusWriter corpus(folder_ / "c.h5", {3, 8, 8, 1});
    for (const Record& made : {record("a", "bc", "You are x.", "one"), record("aaaa", "b", "You are y.", "one"),
                               record("a", "b", "You are z.", "two")}) {
      const EncodedExample example = chat_template.encode(made, arm, tokenizer_);
      corpus.add(example.ids, example.trained, made.source, std::to_string(corpus.examples()));
    }
    CorpusInfo info;
    info.arm = arm == Arm::kRole ? "role" : "plain";
    info.template_text = kTemplate;
    info.tokenizer_sha256 = tokenizer_.sha256();
    info.max_tokens = 100;
    corpus.commit(info);
  }
  FakeTokenizer tokenizer_;
  TemporaryFolder folder_;
};
class PlainCorpus : public RoleCorpus {
 protected:
  PlainCorpus() : RoleCorpus(Arm::kPlain) {}
};

TEST_F(RoleCorpus, Rows_FallIntoContextRoleAndTheRestThatIsTrained) {
  const Dataset corpus(folder_ / "c.h5");
  const CorpusRow row = RowReader(corpus, &tokenizer_).read(0);
  ASSERT_EQ(row.spans.size(), 3U);
  EXPECT_EQ(row.spans[0].part, RowPart::kContext);
  EXPECT_EQ(row.text_of(row.spans[0], tokenizer_), "a:");
  EXPECT_EQ(row.spans[1].part, RowPart::kRole);
  EXPECT_EQ(row.text_of(row.spans[1], tokenizer_), " You are x.\n\n");
  EXPECT_EQ(row.spans[2].part, RowPart::kTrained);
  EXPECT_EQ(row.text_of(row.spans[2], tokenizer_), "bc</s>");
  int64_t at = 0;
  for (const RowSpan& span : row.spans) EXPECT_EQ(span.begin, std::exchange(at, span.end));
  EXPECT_EQ(at, static_cast<int64_t>(row.ids.size()));
}

TEST_F(RoleCorpus, Statistics_CountTokensBySourceAndRoles) {
  const CorpusStatistics found = corpus_statistics(Dataset(folder_ / "c.h5"), &tokenizer_);
  // Dummy prefix, question, colon · space, role, blank line, answer, eos.
  EXPECT_EQ(found.tokens.total, (3 + 1 + 12 + 3) + (6 + 1 + 12 + 2) + (3 + 1 + 12 + 2));
  EXPECT_EQ(found.tokens.max, 21);
  EXPECT_EQ(found.trained_tokens, 16 + 15 + 15);
  ASSERT_EQ(found.by_source.size(), 2U);
  EXPECT_EQ(found.by_source.at("one").count, 2);
  EXPECT_EQ(found.by_source.at("one").p50, 19);
  EXPECT_EQ(found.by_source.at("two").max, 18);
  ASSERT_TRUE(found.roles);
  EXPECT_EQ(found.roles->examples, 3);
  EXPECT_EQ(found.roles->tokens, 3 * 13);
  int64_t in_bins = 0;
  for (const HistogramBin& bin : found.histogram) in_bins += bin.count;
  EXPECT_EQ(in_bins, 3);
}

TEST_F(RoleCorpus, Statistics_TellNoRolesWithoutATokenizer) {
  const CorpusStatistics found = corpus_statistics(Dataset(folder_ / "c.h5"), nullptr);
  EXPECT_FALSE(found.roles);
  EXPECT_EQ(found.trained_tokens, 46);
}

TEST_F(PlainCorpus, Statistics_FindNoRoles) {
  const CorpusStatistics found = corpus_statistics(Dataset(folder_ / "c.h5"), &tokenizer_);
  ASSERT_TRUE(found.roles);
  EXPECT_EQ(found.roles->examples, 0);
}

}  // namespace
}  // namespace spt
