// tokenizer.json: merges, normalizers, pre-tokenizers and decoders one by one, on vocabularies written here.
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "data/tokenizer.h"
#include "tests/data/tokenizer_files.h"

namespace spt::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<Tokenizer> load(const json& tokenizer, const json& config) {
  TokenizerFolder folder;
  folder.write_json("tokenizer.json", tokenizer);
  folder.write_json("tokenizer_config.json", config);
  return folder.load();
}

std::string refusal(const json& tokenizer, const json& config = llama_config()) {
  try {
    load(tokenizer, config);
  } catch (const BadInput& error) {
    return error.what();
  }
  return "accepted";
}

std::vector<std::string> pieces(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  std::vector<std::string> texts;
  for (const int32_t id : ids) texts.push_back(tokenizer.piece(id));
  return texts;
}

std::vector<std::string> cut(const Tokenizer& tokenizer, const std::string& text, bool at_start = true) {
  return pieces(tokenizer, tokenizer.encode(text, at_start));
}

const std::vector<std::string> kLetters = {"▁", "a", "b", "c", "▁a", "ab", "bc", "abc", "▁ab"};

json small_llama() {
  return llama_json(kLetters, parts({"b c", "a b", "▁ a", "▁ ab", "a bc"}));
}

// Words that a pre-tokenizer makes: every pair within one is merged.
json words_by(const json& pre_tokenizer) {
  std::vector<std::string> tokens;
  json merges = json::array();
  const std::vector<std::string> characters = {"a", "b", "c", "0", "1", "2", "Ġ", ".", "Ċ", "'", "s"};
  for (const std::string& left : characters)
    for (const std::string& right : characters) {
      tokens.push_back(left + right);
      merges.push_back({left, right});
    }
  json tokenizer = byte_level_json(tokens, merges);
  tokenizer["pre_tokenizer"] = pre_tokenizer;
  return tokenizer;
}

json byte_level(bool prefix, bool regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"trim_offsets", true}, {"use_regex", regex}};
}

TEST(TokenizerJsonTest, Merges_GoByRankThenFromTheLeft) {
  const auto tokenizer = load(small_llama(), llama_config());
  EXPECT_THAT(cut(*tokenizer, "abc"), ElementsAre(" a", "bc"));  // "b c" first, then "▁ a" before "a bc"
  EXPECT_THAT(cut(*tokenizer, "abc", false), ElementsAre("abc"));
  EXPECT_THAT(cut(*tokenizer, "ab abab", false), ElementsAre("ab", " ab", "ab"));
  const auto runs = load(llama_json({"▁", "a", "aa", "aaaa"}, parts({"a a", "aa aa"})), llama_config());
  EXPECT_THAT(cut(*runs, "aaaaaaa", false), ElementsAre("aaaa", "aa", "a"));
}

TEST(TokenizerJsonTest, Merges_AsPairsMeanTheSameAsStrings) {
  json tokenizer = small_llama();
  const auto strings = load(tokenizer, llama_config());
  tokenizer["model"]["merges"] = json::parse(R"([["b", "c"], ["a", "b"], ["▁", "a"], ["▁", "ab"], ["a", "bc"]])");
  const auto pairs = load(tokenizer, llama_config());
  for (const char* text : {"abc", "ab abab cab", "aabbcc"})
    EXPECT_EQ(strings->encode(text, true), pairs->encode(text, true));
}

TEST(TokenizerJsonTest, Merges_AcrossSpacesAreKeptWhereTheVocabularyHasThem) {
  const auto tokenizer = load(llama_json({"▁", "a", "b", "a▁", "a▁b"}, parts({"a ▁", "a▁ b"})), llama_config());
  EXPECT_THAT(cut(*tokenizer, "a b", false), ElementsAre("a b"));
}

TEST(TokenizerJsonTest, UnknownCharacters_BecomeBytesOrOneUnknownToken) {
  json tokenizer = small_llama();
  EXPECT_THAT(load(tokenizer, llama_config())->encode("é", false), ElementsAre(3 + 0xC3, 3 + 0xA9));
  for (int byte = 0; byte < 256; ++byte) tokenizer["model"]["vocab"].erase(fmt::format("<0x{:02X}>", byte));
  EXPECT_THAT(load(tokenizer, llama_config())->encode("éèa中", false), ElementsAre(0, 260, 0));
  tokenizer["model"]["fuse_unk"] = false;
  EXPECT_THAT(load(tokenizer, llama_config())->encode("éèa中", false), ElementsAre(0, 0, 260, 0));
  tokenizer["model"]["unk_token"] = nullptr;
  EXPECT_THAT(load(tokenizer, llama_config())->encode("éèa中", false), ElementsAre(260));
}

TEST(TokenizerJsonTest, IgnoreMerges_TakesAWholeWordOfTheVocabulary) {
  json tokenizer = byte_level_json({"ab", "abc"}, parts({"a b"}));
  EXPECT_THAT(cut(*load(tokenizer, byte_level_config()), "abc"), ElementsAre("ab", "c"));
  tokenizer["model"]["ignore_merges"] = true;
  EXPECT_THAT(cut(*load(tokenizer, byte_level_config()), "abc"), ElementsAre("abc"));
}

TEST(TokenizerJsonTest, Digits_AreSplitOneByOneOrKeptTogether) {
  json digits = {{"type", "Digits"}, {"individual_digits", true}};
  const auto sequence = [&] {
    return json{{"type", "Sequence"}, {"pretokenizers", {digits, byte_level(false, true)}}};
  };
  EXPECT_THAT(cut(*load(words_by(sequence()), byte_level_config()), "a 12b"), ElementsAre("a", " ", "1", "2", "b"));
  digits["individual_digits"] = false;
  EXPECT_THAT(cut(*load(words_by(sequence()), byte_level_config()), "a 12b"), ElementsAre("a", " ", "12", "b"));
}

TEST(TokenizerJsonTest, ByteLevel_SplitsWordsByGpt2sRegex) {
  const auto tokenizer = load(words_by(byte_level(false, true)), byte_level_config());
  EXPECT_THAT(cut(*tokenizer, "a's 1a..\n\n b"), ElementsAre("a", "'s", " 1", "a", "..", "\n\n", " b"));
  EXPECT_THAT(cut(*tokenizer, "a   b"), ElementsAre("a", "  ", " b"));
  const auto unsplit = load(words_by(byte_level(false, false)), byte_level_config());
  EXPECT_THAT(cut(*unsplit, "a's "), ElementsAre("a'", "s "));
}

TEST(TokenizerJsonTest, ByteLevel_PutsASpaceInFrontWhereAsked) {
  const auto tokenizer = load(words_by(byte_level(true, true)), byte_level_config());
  EXPECT_THAT(cut(*tokenizer, "a"), ElementsAre(" a"));
  EXPECT_THAT(cut(*tokenizer, " a"), ElementsAre(" a"));
  EXPECT_THAT(cut(*tokenizer, "a", false), ElementsAre("a"));
}

TEST(TokenizerJsonTest, Split_FollowsItsRegexAndBehavior) {
  const auto by = [](const char* pattern, const char* behavior, bool invert) {
    return load(
        words_by({{"type", "Sequence"},
                  {"pretokenizers",
                   {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", invert}},
                    byte_level(false, false)}}}),
        byte_level_config());
  };
  EXPECT_THAT(cut(*by("\\p{N}{1,3}| ?\\p{L}+", "Isolated", false), "ab1201 ab"),
              ElementsAre("ab", "12", "0", "1", " ", "ab"));
  EXPECT_THAT(cut(*by("\\p{L}+", "Removed", true), "ab1a"), ElementsAre("ab", "a"));
  EXPECT_THAT(cut(*by("1", "Removed", false), "a1b11c"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(cut(*by("1", "MergedWithPrevious", false), "a1b11c"), ElementsAre("a1", "b1", "1", "c"));
  EXPECT_THAT(cut(*by("1", "MergedWithNext", false), "a1b11c"), ElementsAre("a", "1b", "1", "1c"));
  EXPECT_THAT(cut(*by("1", "Contiguous", false), "a1b11c"), ElementsAre("a", "1", "b", "11", "c"));
  EXPECT_THAT(cut(*by("(?i:'s)", "Isolated", false), "a'Sa"), ElementsAre("a", "'", "S", "a"));
}

TEST(TokenizerJsonTest, Metaspace_PrependsByItsScheme) {
  json tokenizer = small_llama();
  tokenizer["normalizer"] = nullptr;
  const auto with = [&](const char* scheme) {
    tokenizer["pre_tokenizer"] = {
        {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", false}};
    return load(tokenizer, llama_config());
  };
  EXPECT_THAT(cut(*with("first"), "c"), ElementsAre(" ", "c"));
  EXPECT_THAT(cut(*with("first"), " c"), ElementsAre(" ", "c"));
  EXPECT_THAT(cut(*with("first"), "c", false), ElementsAre("c"));
  EXPECT_THAT(cut(*with("never"), "c"), ElementsAre("c"));
  EXPECT_THAT(pieces(*with("first"), with("first")->encode_with_special("c</s>c")),
              ElementsAre("<s>", " ", "c", "</s>", "c"));
  EXPECT_THAT(pieces(*with("always"), with("always")->encode_with_special("c</s>c")),
              ElementsAre("<s>", " ", "c", "</s>", " ", "c"));
}

TEST(TokenizerJsonTest, AddedTokens_LongestMatchWinsAndRstripTakesTheSpaceAfter) {
  json tokenizer = small_llama();
  json strips = added_token(300, "<end>");
  strips["rstrip"] = true;
  for (const json& token : {added_token(302, "<end"), added_token(301, "<end>>"), strips})
    tokenizer["added_tokens"].push_back(token);
  const auto loaded = load(tokenizer, llama_config());
  EXPECT_EQ(loaded->size(), 303);
  EXPECT_EQ(loaded->special("<end>"), 300);
  EXPECT_THAT(loaded->encode_with_special("<end>> \n"), ElementsAre(1, 301, 259, 259, 3 + '\n'));
  EXPECT_THAT(loaded->encode_with_special("<end> \n</s>"), ElementsAre(1, 300, 2));
}

TEST(TokenizerJsonTest, AddedTokens_OfWhiteSpaceBelongToAnyTextOthersToMarkup) {
  json tokenizer = byte_level_json({}, json::array());
  tokenizer["added_tokens"].push_back(added_token(300, "    ", false));
  tokenizer["added_tokens"].push_back(added_token(301, "<tool>", false));
  const auto loaded = load(tokenizer, byte_level_config());
  EXPECT_THAT(loaded->encode("    a", true), ElementsAre(300, 3 + 'a'));
  EXPECT_THAT(loaded->encode("<tool>", true), testing::Not(testing::Contains(301)));
  EXPECT_THAT(loaded->encode_with_special("<tool>"), ElementsAre(301));
  EXPECT_EQ(loaded->decode({301, 300}, true), "<tool>    ");  // not special: kept
}

TEST(TokenizerJsonTest, Bos_FollowsTheConfigWhereItSpeaksAndThePostProcessorElse) {
  EXPECT_EQ(load(small_llama(), llama_config())->bos(), 1);
  json config = llama_config();
  config["add_bos_token"] = false;
  EXPECT_EQ(load(small_llama(), config)->bos(), std::nullopt);
  EXPECT_EQ(load(small_llama(), config)->bos_text(), "<s>");
  json byte_config = byte_level_config();
  byte_config["add_bos_token"] = byte_config["add_eos_token"] = true;
  EXPECT_THAT(load(byte_level_json({}, json::array()), byte_config)->encode_with_special("a"),
              ElementsAre(1, 3 + 'a', 2));
}

TEST(TokenizerJsonTest, Decoder_FollowsHuggingFaceOnBytesMetaspaceAndNone) {
  json tokenizer = small_llama();
  EXPECT_EQ(load(tokenizer, llama_config())->decode({260, 3 + 0xC3, 3 + 0xA9, 3 + 0xC3, 261}, true),
            "a\uFFFD\uFFFD\uFFFDb");
  tokenizer["decoder"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}};
  EXPECT_EQ(load(tokenizer, llama_config())->decode({263, 263}, true), "a a");
  EXPECT_EQ(load(tokenizer, llama_config())->decode({263, 263}, false), " a a");
  tokenizer["decoder"] = nullptr;
  EXPECT_EQ(load(tokenizer, llama_config())->decode({260, 261}, true), "a b");
  EXPECT_EQ(load(byte_level_json({}, json::array()), byte_level_config())
                ->decode({3 + 0xE4, 3 + 0xB8, 3 + 'a', 3 + 0xFF}, true),
            "\uFFFDa\uFFFD");
}

TEST(TokenizerJsonTest, UnknownKinds_AreRefusedByName) {
  const auto with = [](const char* key, const json& value) {
    json tokenizer = small_llama();
    tokenizer[json::json_pointer(key)] = value;
    return refusal(tokenizer);
  };
  EXPECT_THAT(with("/model/type", "Unigram"), HasSubstr("model 'Unigram'"));
  EXPECT_THAT(with("/model/dropout", 0.1), HasSubstr("dropout 0.1"));
  EXPECT_THAT(with("/model/end_of_word_suffix", "</w>"), HasSubstr("end_of_word_suffix '</w>'"));
  EXPECT_THAT(with("/normalizer", {{"type", "NFKC"}}), HasSubstr("normalizer 'NFKC'"));
  EXPECT_THAT(with("/post_processor/special_tokens/<s>/ids", {3'000'000}),
              HasSubstr("the id 3000000, which is no token"));
  EXPECT_THAT(with("/pre_tokenizer", {{"type", "BertPreTokenizer"}}), HasSubstr("pre_tokenizer 'BertPreTokenizer'"));
  EXPECT_THAT(with("/pre_tokenizer", json{{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}}),
              HasSubstr("regular expression '('"));
  EXPECT_THAT(with("/pre_tokenizer", json{{"type", "Split"}, {"pattern", {{"String", "x"}}}, {"behavior", "Odd"}}),
              HasSubstr("'Odd'"));
  EXPECT_THAT(with("/decoder", {{"type", "WordPiece"}}), HasSubstr("decoder 'WordPiece'"));
  EXPECT_THAT(with("/post_processor", {{"type", "RobertaProcessing"}}),
              HasSubstr("post_processor 'RobertaProcessing'"));
  EXPECT_THAT(with("/added_tokens/0/single_word", true), HasSubstr("single_word"));
}

TEST(TokenizerJsonTest, HostileVocabulariesAndMerges_AreBadInput) {
  const auto with = [](const char* key, const json& value) {
    json tokenizer = small_llama();
    tokenizer[json::json_pointer(key)] = value;
    return refusal(tokenizer);
  };
  EXPECT_THAT(with("/model/merges", json{"a zz"}), HasSubstr("'zz' is not in the vocabulary"));
  EXPECT_THAT(with("/model/merges", json{"a a"}), HasSubstr("'aa' is not in the vocabulary"));
  for (const json& merge : {json("a"), json("a b c"), json(3), json{{"a", 3}}, json::array({"a"}), json::array({1, 2})})
    EXPECT_THAT(with("/model/merges", json::array({merge})), HasSubstr("tokenizer.json")) << merge;
  EXPECT_THAT(with("/model/vocab/a", -1), HasSubstr("the id -1"));
  EXPECT_THAT(with("/model/vocab/a", 2147483648), HasSubstr("the id 2147483648"));
  EXPECT_THAT(with("/model/vocab/a", 5), HasSubstr("given twice"));
  EXPECT_THAT(with("/model/vocab/a", "x"), HasSubstr("tokenizer.json"));
  for (const char* key : {"/model/vocab/a", "/added_tokens/0/id"})
    for (const double id : {2.5, 2.6e88})
      EXPECT_THAT(with(key, id), HasSubstr("which is no whole number")) << key << " " << id;
  EXPECT_THAT(with("/model/vocab", json::array()), HasSubstr("tokenizer.json"));
  EXPECT_THAT(with("/model/unk_token", "<none>"), HasSubstr("'<none>'"));
  EXPECT_THAT(with("/added_tokens/0/id", 7), HasSubstr("'<unk>' has the id 7"));
  EXPECT_THAT(with("/added_tokens/0/id", 1 << 30), HasSubstr("allowed are 0 to"));
  EXPECT_THAT(with("/added_tokens/0/content", ""), HasSubstr("no text"));
  EXPECT_THAT(with("/added_tokens/0/content", "</s>"), HasSubstr("tokenizer.json"));
  EXPECT_THAT(with("/post_processor/special_tokens", json::object()), HasSubstr("tokenizer.json"));
  EXPECT_THAT(with("/normalizer/normalizers/1/pattern/String", ""), HasSubstr("empty"));
}

}  // namespace
}  // namespace spt::test
