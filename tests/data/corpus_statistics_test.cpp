#include "data/corpus_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/corpus_row.h"
#include "tests/data/fake_tokenizer.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

constexpr const char* kTemplate =
    "start: \"{system}{user}:\"\nstart_without_system: \"{user}:\"\nanswer: \" {assistant}{eos}\"\n"
    "next: \"{user}:\"\nsystem: \"\"\n";

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
  explicit RoleCorpus(Arm arm = Arm::kRole, bool role_loss = true) {
    const ChatTemplate chat_template = ChatTemplate::parse(kTemplate, "t.yaml");
    CorpusWriter corpus(folder_ / "c.h5", {3, 8, 8, 1});
    for (const Record& made : {record("a", "bc", "You are x.", "one"), record("aaaa", "b", "You are y.", "one"),
                               record("a", "b", "You are z.", "two")}) {
      const EncodedExample example = chat_template.encode(made, arm, tokenizer_, role_loss);
      corpus.add(example.ids, example.trained, made.source, std::to_string(corpus.examples()));
    }
    CorpusInfo info;
    info.arm = arm == Arm::kRole ? "role" : "plain";
    info.template_text = kTemplate;
    info.tokenizer_sha256 = tokenizer_.sha256();
    info.max_tokens = 100;
    if (!role_loss) info.ablation = R"({"role_loss": false})";
    corpus.finish(info);
    corpus.commit();
  }
  FakeTokenizer tokenizer_;
  TemporaryFolder folder_;
};
class CorpusWithoutRoleLoss : public RoleCorpus {
 protected:
  CorpusWithoutRoleLoss() : RoleCorpus(Arm::kRole, false) {}
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

TEST_F(CorpusWithoutRoleLoss, Rows_TellTheRoleThatIsNotTrained) {
  const Dataset corpus(folder_ / "c.h5");
  const CorpusRow row = RowReader(corpus, &tokenizer_).read(0);
  ASSERT_EQ(row.spans.size(), 3U);
  EXPECT_EQ(row.text_of(row.spans[0], tokenizer_), "a:");
  EXPECT_EQ(row.spans[1].part, RowPart::kUntrainedRole);
  EXPECT_EQ(row.text_of(row.spans[1], tokenizer_), " You are x.\n\n");
  EXPECT_EQ(row.spans[2].part, RowPart::kTrained);
  EXPECT_EQ(row.text_of(row.spans[2], tokenizer_), "bc</s>");
  const CorpusStatistics found = corpus_statistics(corpus, &tokenizer_);
  EXPECT_EQ(found.roles->examples, 3);
  EXPECT_EQ(found.roles->tokens, 3 * 13);
  EXPECT_EQ(found.roles->trained, 0);
  EXPECT_EQ(found.trained_tokens, 3 + 2 + 2);
}

// A question that looks like a turn of the assistant's, and a role that says "You are" twice.
TEST(UntrainedRole, BeginsBehindTheLastMark) {
  const FakeTokenizer tokenizer;
  const TemporaryFolder folder;
  const ChatTemplate chat_template = ChatTemplate::load(SPT_SOURCE_DIR "/configs/templates/chatml.yaml");
  CorpusWriter writer(folder / "c.h5", {3, 8, 8, 1});
  const std::vector<Record> records = {
      record("You are odd.\n\nassistant\nYou are, right?", "b", "You are x. You are y.", ""),
      record("a", "You are b.\n\nYou are c.", "You are x.", ""),
      record("a", "b", std::string("You are ") + std::string(250, 'x'), "")};
  for (const Record& made : records) {
    const EncodedExample example = chat_template.encode(made, Arm::kRole, tokenizer, false);
    writer.add(example.ids, example.trained, "", std::to_string(writer.examples()));
  }
  CorpusInfo info;
  info.arm = "role";
  info.template_text = chat_template.text();
  info.tokenizer_sha256 = tokenizer.sha256();
  info.max_tokens = 1000;
  info.ablation = R"({"role_loss": false})";
  writer.finish(info);
  writer.commit();
  const Dataset corpus(folder / "c.h5");
  const RowReader reader(corpus, &tokenizer);
  const auto role_of = [&](int64_t i) {
    const CorpusRow row = reader.read(i);
    return row.spans[1].part == RowPart::kUntrainedRole ? row.text_of(row.spans[1], tokenizer) : "none";
  };
  EXPECT_EQ(role_of(0), "You are x. You are y.\n\n");
  EXPECT_EQ(role_of(1), "You are x.\n\n");
  EXPECT_EQ(role_of(2), "none");  // longer than generation would find
}

}  // namespace
}  // namespace spt
