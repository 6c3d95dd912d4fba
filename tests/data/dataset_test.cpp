#include "data/dataset.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "data/h5_file.h"
#include "tests/data/small_corpus.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<int64_t> numbers(const at::Tensor& tensor) {
  std::vector<int64_t> values;
  if (tensor.scalar_type() == at::kInt)
    values.assign(tensor.const_data_ptr<int32_t>(), tensor.const_data_ptr<int32_t>() + tensor.numel());
  else
    values.assign(tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel());
  return values;
}

class Rows : public ::testing::Test {
 protected:
  std::filesystem::path write(int64_t shards = 1, SmallCorpus corpus = small_corpus()) {
    corpus.write(folder_ / "c.h5", shards);
    return folder_ / "c.h5";
  }
  std::string error(const std::filesystem::path& path, int64_t max_tokens = 0) {
    try {
      Dataset dataset(path, max_tokens);
      const std::vector<int64_t> rows = {0, 1, 2};
      dataset.batch(rows);
      dataset.verify();
    } catch (const BadInput& bad) {
      EXPECT_THAT(bad.what(), StartsWith(path.string()));
      return bad.what();
    }
    return "no error";
  }
  // The corpus with one attribute or data set of its own.
  struct Change {
    std::string format = kCorpusFormat;
    int64_t version = 1;
    int64_t max_tokens = 8;
    std::string arm = "role";
    std::vector<int64_t> offsets = {0, 5, 8, 16};
    std::vector<std::string> ids = {"1", "x-2", "3"};
    std::vector<int32_t> tokens = small_corpus().tokens;
    bool with_trained = true;
    std::vector<std::string> sources = {};
    std::string content_sha256 = "x";
  };
  std::filesystem::path write(const Change& change) {
    H5Writer file(folder_ / "c.h5", kCorpusChunk);
    file.text_attribute("format", change.format);
    file.int_attribute("version", change.version);
    file.text_attribute("arm", change.arm);
    for (const char* name : {"template", "system", "role_prefix", "tokenizer_sha256", "source_sha256"})
      file.text_attribute(name, "x");
    file.text_attribute("content_sha256", change.content_sha256);
    file.int_attribute("max_tokens", change.max_tokens);
    file.int_attribute("truncated_examples", 0);
    file.int_attribute("dropped_examples", 0);
    file.append("tokens", std::span<const int32_t>(change.tokens));
    if (change.with_trained) file.append("trained", std::span<const uint8_t>(small_corpus().trained));
    file.append("offsets", std::span<const int64_t>(change.offsets));
    file.append("source", 8,
                std::span<const std::string>(change.sources.empty() ? std::vector<std::string>(change.ids.size())
                                                                    : change.sources));
    file.append("id", 8, std::span<const std::string>(change.ids));
    file.commit();
    return folder_ / "c.h5";
  }
  TemporaryFolder folder_;
};

TEST_F(Rows, Open_ReadsWhatTheCorpusIs) {
  const Dataset dataset(write());
  EXPECT_EQ(dataset.size(), 3);
  EXPECT_THAT(dataset.lengths(), ElementsAre(5, 3, 8));
  EXPECT_EQ(dataset.trimmed(), 0);
  EXPECT_EQ(dataset.info().arm, "role");
  EXPECT_EQ(dataset.info().template_text, "system: S");
  EXPECT_EQ(dataset.info().max_tokens, 8);
  EXPECT_EQ(dataset.info().truncated_examples, 1);
  EXPECT_EQ(dataset.info().dropped_examples, 2);
  EXPECT_EQ(dataset.id(1), "x-2");
  EXPECT_EQ(dataset.source(2), "übung");
  EXPECT_NO_THROW(dataset.verify());
}

TEST_F(Rows, Batch_PutsExamplesEndToEndWithTheNextTrainedTokenAsLabel) {
  const std::vector<int64_t> rows = {1, 0};
  const Batch batch = Dataset(write()).batch(rows);
  EXPECT_THAT(numbers(batch.ids), ElementsAre(1, 20, 2, 1, 10, 11, 12, 2));
  EXPECT_THAT(numbers(batch.labels), ElementsAre(20, 2, -100, -100, 11, 12, 2, -100));
  EXPECT_THAT(numbers(batch.starts), ElementsAre(0, 3, 8));
  EXPECT_EQ(batch.starts.scalar_type(), at::kInt);
  EXPECT_EQ(batch.ids.scalar_type(), at::kLong);
}

TEST_F(Rows, Batch_OfNoRowsIsEmpty) {
  const Batch batch = Dataset(write()).batch({});
  EXPECT_EQ(batch.ids.numel(), 0);
  EXPECT_THAT(numbers(batch.starts), ElementsAre(0));
}

TEST_F(Rows, MaxTokens_TrimsAgain) {
  const Dataset dataset(write(), 4);
  EXPECT_THAT(dataset.lengths(), ElementsAre(4, 3, 4));
  EXPECT_EQ(dataset.trimmed(), 2);
  const std::vector<int64_t> rows = {2};
  const Batch batch = dataset.batch(rows);
  EXPECT_THAT(numbers(batch.ids), ElementsAre(1, 30, 31, 32));
  EXPECT_THAT(numbers(batch.labels), ElementsAre(-100, -100, 32, -100));
  EXPECT_NO_THROW(dataset.verify());
}

TEST_F(Rows, Row_OutsideTheCorpusIsRefused) {
  const Dataset dataset(write());
  for (const int64_t row : {int64_t{-1}, int64_t{3}}) {
    EXPECT_THROW(dataset.batch(std::span(&row, 1)), BadInput);
    EXPECT_THROW(dataset.id(row), BadInput);
  }
}

TEST_F(Rows, Tokenizer_MustBeTheCorpuss) {
  const Dataset dataset(write());
  EXPECT_NO_THROW(dataset.require_tokenizer(std::string(64, 'a'), "models/x"));
  try {
    dataset.require_tokenizer(std::string(64, 'c'), "models/x");
    FAIL();
  } catch (const BadInput& bad) {
    EXPECT_THAT(bad.what(),
                ::testing::AllOf(HasSubstr("c.h5"), HasSubstr("models/x"), HasSubstr(std::string(64, 'c'))));
  }
}

TEST_F(Rows, Open_RefusesAnotherFormatAndANewerVersion) {
  EXPECT_THAT(error(write(Change{.format = "other"})), HasSubstr("is no corpus"));
  EXPECT_THAT(error(write(Change{.version = 3})), HasSubstr("version 3, this program reads up to 2"));
  EXPECT_THAT(error(write(Change{.arm = "other"})), HasSubstr("attribute arm is \"other\""));
}

TEST_F(Rows, Open_RefusesDataThatDoesNotFitTogether) {
  EXPECT_THAT(error(write(Change{.offsets = {0, 5, 8, 17}})), HasSubstr("expected 1…8 more"));
  EXPECT_THAT(error(write(Change{.offsets = {0, 5, 8, 15}})), HasSubstr("tokens has 16 elements, offsets say 15"));
  EXPECT_THAT(error(write(Change{.offsets = {1, 5, 8, 16}})), HasSubstr("offsets begin with 1"));
  EXPECT_THAT(error(write(Change{.offsets = {0, 8, 8, 16}})), HasSubstr("offsets[2] is 8 after 8"));
  EXPECT_THAT(error(write(Change{.offsets = {0, 5, -(int64_t{1} << 62), 16}})), HasSubstr("offsets[2]"));
  EXPECT_THAT(error(write(Change{.offsets = {0}})), HasSubstr("holds no example"));
  EXPECT_THAT(error(write(Change{.offsets = {}})), HasSubstr("holds no example"));
  EXPECT_THAT(error(write(Change{.ids = {"1", "2"}})), HasSubstr("source has 2 elements, offsets say 3"));
  EXPECT_THAT(error(write(Change{.max_tokens = int64_t{1} << 60})), HasSubstr("attribute max_tokens"));
  EXPECT_THAT(error(write(Change{.with_trained = false})), HasSubstr("no data set \"trained\""));
}

TEST_F(Rows, Batch_RefusesNegativeTokens) {
  Change change;
  change.tokens[6] = -5;
  EXPECT_THAT(error(write(change)), HasSubstr("row 1 has token -5"));
}

TEST_F(Rows, Verify_RefusesContentThatIsNotTheHashs) {
  EXPECT_THAT(error(write(Change{})), HasSubstr("content_sha256 is x"));
}

TEST_F(Rows, Verify_FindsAChangedAttribute) {
  const auto path = write();
  const CorpusInfo info = Dataset(path).info();
  H5Writer file(path, kCorpusChunk);
  const SmallCorpus corpus = small_corpus();
  file.append("tokens", std::span<const int32_t>(corpus.tokens));
  file.append("trained", std::span<const uint8_t>(corpus.trained));
  file.append("offsets", std::span<const int64_t>(corpus.offsets));
  file.append("source", 255, std::span<const std::string>(corpus.sources));
  file.append("id", 255, std::span<const std::string>(corpus.ids));
  file.text_attribute("format", kCorpusFormat);
  file.int_attribute("version", kCorpusVersion);
  visit_attributes(info, [&](const std::string& name, const auto& value) {
    if constexpr (std::is_same_v<decltype(value), const int64_t&>)
      file.int_attribute(name, value);
    else
      file.text_attribute(name, name == "arm" ? "plain" : value);
  });
  file.text_attribute("content_sha256", info.content_sha256);
  file.commit();
  EXPECT_THAT(error(path), HasSubstr("content_sha256 is " + info.content_sha256));
}

// What spt wrote before there were parts.
TEST_F(Rows, Version1_IsReadAndVerified) {
  const SmallCorpus corpus = small_corpus();
  Sha256 hash;
  hash.update(corpus.tokens.data(), 4 * corpus.tokens.size());
  hash.update(corpus.trained.data(), corpus.trained.size());
  hash.update(corpus.offsets.data(), 8 * corpus.offsets.size());
  for (const auto* texts : {&corpus.sources, &corpus.ids})
    for (const std::string& text : *texts) hash.update(text.c_str(), text.size() + 1);
  const auto path = write(Change{.sources = corpus.sources, .content_sha256 = hash.hex()});
  EXPECT_EQ(error(path), "no error");
  EXPECT_EQ(Dataset(path).info().ablation, "{}");
  EXPECT_EQ(Dataset(path).id(1), "x-2");
}

class Parts : public Rows {
 protected:
  std::filesystem::path part(int64_t number) const { return part_path(folder_ / "c.h5", number, 2); }
};

TEST_F(Parts, Corpus_IsTheSameInAnyNumberOfParts) {
  folder_.put("c.part-00001-of-00009.h5.partial", "left by a killed call");
  const std::string whole = Dataset(write()).info().content_sha256;
  for (const int64_t parts : {2, 3}) {
    const Dataset dataset(write(parts));
    EXPECT_EQ(dataset.parts(), parts);
    EXPECT_EQ(dataset.size(), 3);
    const std::vector<int64_t> rows = {2, 0, 1};
    EXPECT_THAT(numbers(dataset.batch(rows).ids),
                ElementsAre(1, 30, 31, 32, 33, 34, 35, 2, 1, 10, 11, 12, 2, 1, 20, 2));
    EXPECT_EQ(dataset.source(2), "übung");
    EXPECT_EQ(dataset.info().content_sha256, whole);
    EXPECT_NO_THROW(dataset.verify());
  }
  EXPECT_THAT(corpus_files(folder_ / "c.h5"), ::testing::SizeIs(4));  // those in two parts are gone
  EXPECT_THAT(corpus_files(folder_ / "c.h5", ".partial"), ::testing::IsEmpty());
}

TEST_F(Parts, Part_IsOpenedWhenItsRowsAreRead) {
  const auto path = write(2);
  std::filesystem::remove(part(1));
  const Dataset dataset(path);
  const std::vector<int64_t> first = {0}, last = {2};
  EXPECT_THAT(numbers(dataset.batch(first).ids), ElementsAre(1, 10, 11, 12, 2));
  try {
    dataset.batch(last);
    FAIL();
  } catch (const BadInput& bad) {
    EXPECT_THAT(bad.what(), ::testing::AllOf(HasSubstr("c.part-00002-of-00002.h5 is missing"), HasSubstr("c.h5")));
  }
  EXPECT_THROW(dataset.verify(), BadInput);
}

TEST_F(Parts, Part_OfAnotherCorpusIsRefused) {
  SmallCorpus other = small_corpus();
  other.tokens[15] = 3;
  write(2, other);
  std::filesystem::rename(part(1), folder_ / "kept");
  const auto path = write(2);
  std::filesystem::rename(folder_ / "kept", part(1));
  EXPECT_THAT(error(path),
              ::testing::AllOf(HasSubstr("c.part-00002-of-00002.h5 is no part of it"), HasSubstr("part_sha256")));
  std::filesystem::copy_file(path, part(1), std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(error(path), HasSubstr("is no part of it"));
}

TEST_F(Parts, Part_IsNoCorpusOfItsOwn) {
  write(2);
  EXPECT_THAT(error(part(0)), HasSubstr("is one part of a corpus"));
}

TEST_F(Parts, AFlippedByteOfAPart_IsFoundOrHarmless) {
  const auto path = write(2);
  const std::string name = part(1).filename(), whole = folder_.get(name);
  int found = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
    folder_.put(name, flipped);
    try {
      const Dataset dataset(path);
      dataset.verify();
      const std::vector<int64_t> rows = {0, 1, 2};
      EXPECT_THAT(numbers(dataset.batch(rows).ids), ElementsAreArray(small_corpus().tokens)) << i;
    } catch (const BadInput&) {
      ++found;
    }
  }
  EXPECT_GT(found, 0);
}

// Whatever byte is hit: found, or one of those that carry nothing.
TEST_F(Rows, AFlippedByte_IsFoundOrHarmless) {
  const std::string whole = folder_.get(write().filename());
  int found = 0, harmless = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
    const auto path = folder_.put("c.h5", flipped);
    if (error(path) != "no error") {
      ++found;
      continue;
    }
    ++harmless;
    const std::vector<int64_t> rows = {0, 1, 2};
    const Dataset dataset(path);
    EXPECT_THAT(numbers(dataset.batch(rows).ids), ElementsAreArray(small_corpus().tokens)) << i;
    EXPECT_EQ(dataset.info().template_text, "system: S") << i;
    EXPECT_EQ(dataset.info().arm, "role") << i;
    EXPECT_EQ(dataset.id(1), "x-2") << i;
  }
  EXPECT_GT(found, 0);
  RecordProperty("found", found);
  RecordProperty("harmless", harmless);
}

TEST_F(Rows, ATruncatedFile_IsRefused) {
  const std::string whole = folder_.get(write().filename());
  for (size_t size = 0; size < whole.size(); size += 13)
    EXPECT_NE(error(folder_.put("c.h5", whole.substr(0, size))), "no error") << size;
}

TEST_F(Rows, NoiseInTheFile_NeverCrashes) {
  const std::string whole = folder_.get(write().filename());
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    std::string noisy = whole;
    const size_t begin = random() % noisy.size(), size = 1 + random() % 64;
    for (size_t i = begin; i < std::min(noisy.size(), begin + size); ++i) noisy[i] = static_cast<char>(random());
    error(folder_.put("c.h5", noisy));
  }
}

}  // namespace
}  // namespace spt
