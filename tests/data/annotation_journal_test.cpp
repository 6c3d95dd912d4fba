#include "data/annotation_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::SizeIs;

const AnnotationSource kSource{"input", "annotator", "model", "{}"};

class JournalOfAnnotation : public testing::Test {
 protected:
  // Its answers, after one with this text was appended.
  size_t append(const std::string& text) {
    AnnotationJournal journal(path_, kSource, false);
    journal.append({3, "id3", 2, text, "a fault", {5, 7}});
    return journal.found().size();
  }
  std::string error(const AnnotationSource& source) {
    try {
      AnnotationJournal(path_, source, false);
    } catch (const BadInput& bad) {
      return bad.what();
    }
    return "no error";
  }
  std::string text() const { return folder_.get("o.journal"); }
  TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "o.journal";
};

TEST_F(JournalOfAnnotation, Found_HasWhatWasAppended) {
  append("one\n\"two\"");
  const AnnotationJournal journal(path_, kSource, false);
  ASSERT_THAT(journal.found(), SizeIs(1));
  const JournalAnswer& answer = journal.found()[0];
  EXPECT_EQ(answer.line, 3);
  EXPECT_EQ(answer.id, "id3");
  EXPECT_EQ(answer.attempt, 2);
  EXPECT_EQ(answer.text, "one\n\"two\"");
  EXPECT_EQ(answer.fault, "a fault");
  EXPECT_EQ(answer.usage.prompt, 5);
  EXPECT_EQ(answer.usage.completion, 7);
}

TEST_F(JournalOfAnnotation, Append_IsInTheFileWhenItReturns) {
  AnnotationJournal journal(path_, kSource, false);
  journal.append({1, "a", 1, "text", std::nullopt, {}});
  EXPECT_THAT(text(), AllOf(HasSubstr("\"fault\":null"), EndsWith("}\n")));
}

TEST_F(JournalOfAnnotation, ATornLastLineIsCutWhereverItWasTorn) {
  append("one");
  append("two");
  const std::string whole = text();
  const size_t last = whole.rfind('\n', whole.size() - 2) + 1;
  for (size_t size = last + 1; size < whole.size(); ++size) {
    folder_.put("o.journal", whole.substr(0, size));
    EXPECT_THAT(AnnotationJournal(path_, kSource, false).found(), SizeIs(1)) << size;
    EXPECT_EQ(text(), whole.substr(0, last)) << size;
  }
}

TEST_F(JournalOfAnnotation, AJournalWithoutAnswersBelongsToNobodyAndGoes) {
  {
    const AnnotationJournal journal(path_, kSource, false);
    EXPECT_TRUE(std::filesystem::exists(path_));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  append("one");
  const std::string header = text().substr(0, text().find('\n') + 1);
  for (const size_t size : {header.size(), header.size() / 2, size_t{0}}) {  // killed before its first answer
    folder_.put("o.journal", header.substr(0, size));
    EXPECT_EQ(append("two"), 0U) << size;
    EXPECT_EQ(append("three"), 1U) << size;
  }
}

TEST_F(JournalOfAnnotation, AnotherSourcesIsRefusedNamingWhatDiffersAndReplacedOnRequest) {
  append("one");
  const std::string before = text();
  AnnotationSource other = kSource;
  other.model = "another";
  other.settings = "{1}";
  EXPECT_THAT(error(other), AllOf(HasSubstr(path_.string()), HasSubstr("model, settings"), HasSubstr("--force")));
  EXPECT_EQ(text(), before);
  EXPECT_THAT(AnnotationJournal(path_, other, true).found(), SizeIs(0));
}

TEST_F(JournalOfAnnotation, ADamagedLineIsNamed) {
  append("one");
  const std::string before = text();
  folder_.put("o.journal", before + "{\"line\": 1}\n");
  EXPECT_THAT(error(kSource), HasSubstr("o.journal:3: "));
  folder_.put("o.journal", "notes");
  EXPECT_THAT(error(kSource), HasSubstr("no journal"));
  EXPECT_EQ(text(), "notes");
}

TEST_F(JournalOfAnnotation, OneProcessAtATime) {
  const AnnotationJournal journal(path_, kSource, false);
  EXPECT_THAT(error(kSource), HasSubstr("another process"));
}

TEST_F(JournalOfAnnotation, WrittenFilesAreKnownAgain) {
  {
    AnnotationJournal journal(path_, kSource, false);
    journal.append({1, "a", 1, "text", std::nullopt, {}});
    journal.append_written({"sha"});
  }
  EXPECT_TRUE(AnnotationJournal(path_, kSource, false).has_written("sha"));
  EXPECT_FALSE(AnnotationJournal(path_, kSource, false).has_written("other"));
}

}  // namespace
}  // namespace spt
