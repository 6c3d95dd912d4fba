// Loading a folder, and what both kinds of tokenizer.json and SentencePiece models share.
#include "data/tokenizer.h"

#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/sha256.h"
#include "tests/data/tokenizer_files.h"

namespace spt::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> kTokens = {"▁", "a", "b", "l", "s", "<", ">", "/", "ab", "▁ab", "▁a"};
const json kMerges = {"a b", "▁ ab", "▁ a"};

// The three kinds, with the same letters.
struct Kind {
  const char* name;
  bool has_prefix;
  const char* eos;
};

void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

class TokenizerTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    const std::string kind = GetParam().name;
    if (kind == "Llama") folder_.write_json("tokenizer.json", llama_json(kTokens, kMerges));
    if (kind == "ByteLevel")
      folder_.write_json("tokenizer.json", byte_level_json({"ab", "Ġab"}, parts({"a b", "Ġ ab"})));
    if (kind == "SentencePiece")
      folder_.put("tokenizer.model", sentencepiece_model({"ab", "▁ab", "▁a", "▁", "a", "b", "l", "s", "<", ">", "/"}));
    folder_.write_json("tokenizer_config.json", kind == "ByteLevel" ? byte_level_config() : llama_config());
    tokenizer_ = folder_.load();
  }

  TokenizerFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerTest,
                         testing::Values(Kind{"Llama", true, "</s>"}, Kind{"ByteLevel", false, "<|im_end|>"},
                                         Kind{"SentencePiece", true, "</s>"}),
                         [](const auto& param_info) { return param_info.param.name; });

TEST_P(TokenizerTest, Encode_ThenDecode_GivesTheTextBack) {
  for (const std::string text : {"",           " ",
                                 "   ",        "a",
                                 " a",         "a ",
                                 "  ab  ab ",  "\n",
                                 "\n\n a\n",   "\t\r\n",
                                 "12 345",     "don't",
                                 "é\u0301",    "中文🙂\u200d",
                                 "a\u00A0b",   "\uFFFD",
                                 "</s>",       "<s>",
                                 "<|im_end|>", "a</s>b <unk>",
                                 "<0x41>",     "it's 3 o'clock… ²"}) {
    const auto start = tokenizer_->encode(text, true);
    EXPECT_EQ(tokenizer_->decode(start, true), text);
    const auto inside = tokenizer_->encode(text, false);
    EXPECT_EQ(tokenizer_->decode(inside, false), text);
  }
  const std::string zero("a\0b", 3);
  EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(zero, true), true), zero);
}

TEST_P(TokenizerTest, Encode_KeepsSpecialTokensAsText) {
  const int32_t eos = *tokenizer_->special(GetParam().eos);
  const std::string text = std::string("a") + GetParam().eos + "b<s><unk></s><|im_start|><|im_end|><|endoftext|>";
  for (const bool at_start : {true, false}) {
    const auto ids = tokenizer_->encode(text, at_start);
    for (const int32_t id : ids) EXPECT_GT(id, 2);
    EXPECT_EQ(tokenizer_->decode(ids, at_start), text);
  }
  EXPECT_THAT(tokenizer_->encode_with_special(text), testing::Contains(eos));
  EXPECT_EQ(eos, tokenizer_->eos());
}

TEST_P(TokenizerTest, EncodeWithSpecial_PutsBosInFrontOnlyWhereTheTokenizerDoes) {
  const auto ids = tokenizer_->encode_with_special("ab");
  if (GetParam().has_prefix) {
    EXPECT_EQ(tokenizer_->bos(), 1);
    EXPECT_EQ(tokenizer_->bos_text(), "<s>");
    EXPECT_THAT(ids, ElementsAre(1, *tokenizer_->encode("ab", true).begin()));
  } else {
    EXPECT_EQ(tokenizer_->bos(), std::nullopt);
    EXPECT_EQ(ids, tokenizer_->encode("ab", true));
  }
  EXPECT_EQ(tokenizer_->eos_text(), GetParam().eos);
}

TEST_P(TokenizerTest, Encode_PutsTheDummyPrefixOnlyAtTheStart) {
  const auto start = tokenizer_->encode("ab", true), inside = tokenizer_->encode("ab", false);
  EXPECT_EQ(start != inside, GetParam().has_prefix);
  EXPECT_EQ(start.size(), 1u);
  EXPECT_EQ(inside.size(), 1u);
  EXPECT_EQ(tokenizer_->decode(start, false), GetParam().has_prefix ? " ab" : "ab");
  EXPECT_EQ(tokenizer_->encode("", true).size(), 0u);
}

TEST_P(TokenizerTest, Encode_OfInvalidUtf8IsBadInputWithTheOffset) {
  for (const std::string bytes : {"ab\xFF", "ab\xC3", "ab\xED\xA0\x80", "ab\xC0\x80", "ab\xF4\x90\x80\x80"}) {
    for (const bool at_start : {true, false}) {
      try {
        tokenizer_->encode(bytes, at_start);
        FAIL();
      } catch (const BadInput& error) {
        EXPECT_THAT(error.what(), HasSubstr("offset 2"));
      }
    }
    EXPECT_THROW(tokenizer_->encode_with_special(bytes), BadInput);
  }
}

TEST_P(TokenizerTest, Decode_LeavesOutSpecialTokensAndIdsOfNoToken) {
  std::vector<int32_t> ids = tokenizer_->encode("ab a", true);
  ids.insert(ids.begin(), {1, 2, 0});
  ids.insert(ids.end(), {2, -1, 100000, static_cast<int32_t>(tokenizer_->size())});
  EXPECT_EQ(tokenizer_->decode(ids, true), "ab a");
}

TEST_P(TokenizerTest, Decode_OfATornCharacterGivesReplacementCharacters) {
  auto ids = tokenizer_->encode("a中", false);
  ids.pop_back();
  const std::string text = tokenizer_->decode(ids, false);
  EXPECT_THAT(text, testing::StartsWith("a\uFFFD"));
  EXPECT_THAT(text, testing::Not(HasSubstr("中")));
}

TEST_P(TokenizerTest, Piece_ShowsEveryTokenAlsoSpecialOnes) {
  EXPECT_EQ(tokenizer_->piece(tokenizer_->eos()), GetParam().eos);
  EXPECT_EQ(tokenizer_->piece(tokenizer_->encode("ab", true)[0]), GetParam().has_prefix ? " ab" : "ab");
  EXPECT_EQ(tokenizer_->piece(static_cast<int32_t>(tokenizer_->size())), "");
  EXPECT_EQ(tokenizer_->piece(-1), "");
}

TEST_P(TokenizerTest, Encode_TakesAMegabyteWithoutSpacesOrOfSpaces) {
  for (const char letter : {'a', ' '}) {
    const std::string text(1 << 20, letter);
    const auto start = std::chrono::steady_clock::now();
    const auto ids = tokenizer_->encode(text, true);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    EXPECT_LT(taken.count(), 5) << "quadratic on " << letter;
    EXPECT_EQ(tokenizer_->decode(ids, true).size(), text.size());
  }
}

TEST_P(TokenizerTest, Files_AreThosePresentAndTheDigestIsOfTheFileReadAndBosAndEos) {
  const bool is_model = std::string(GetParam().name) == "SentencePiece";
  const std::filesystem::path file = folder_.path() / (is_model ? "tokenizer.model" : "tokenizer.json");
  EXPECT_THAT(tokenizer_->files(), ElementsAre(file, folder_.path() / "tokenizer_config.json"));
  std::ifstream stream(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  const int bos = tokenizer_->bos().value_or(-1);
  EXPECT_EQ(tokenizer_->sha256(),
            sha256_hex(bytes + "\nbos " + std::to_string(bos) + " eos " + std::to_string(tokenizer_->eos()) + "\n"));
}

// Base and instruct models often differ in that alone; a corpus of one would teach the other the wrong end.
TEST_P(TokenizerTest, Digest_ChangesWithTheEos) {
  json config = std::string(GetParam().name) == "ByteLevel" ? byte_level_config() : llama_config();
  config["eos_token"] = config["bos_token"];
  folder_.write_json("tokenizer_config.json", config);
  EXPECT_NE(folder_.load()->sha256(), tokenizer_->sha256());
}

TEST_P(TokenizerTest, Special_FindsOnlyAddedTokens) {
  EXPECT_EQ(tokenizer_->special(GetParam().eos), tokenizer_->eos());
  EXPECT_EQ(tokenizer_->special("ab"), std::nullopt);
  EXPECT_EQ(tokenizer_->special(""), std::nullopt);
}

TEST(LoadTokenizerTest, TokenizerJsonGoesBeforeTheModel) {
  TokenizerFolder folder;
  folder.write_json("tokenizer.json", llama_json(kTokens, kMerges));
  folder.put("tokenizer.model", "not read");
  folder.write_json("special_tokens_map.json", json{{"eos_token", {{"content", "</s>"}}}});
  const auto tokenizer = folder.load();
  EXPECT_EQ(tokenizer->size(), 270);
  EXPECT_EQ(tokenizer->files().size(), 3u);
}

TEST(LoadTokenizerTest, EosComesFromTheConfigThenTheMapThenTheModel) {
  TokenizerFolder folder;
  folder.put("tokenizer.model", sentencepiece_model({"▁", "a"}));
  EXPECT_EQ(folder.load()->eos(), 2);
  folder.write_json("special_tokens_map.json", json{{"eos_token", "<s>"}});
  EXPECT_EQ(folder.load()->eos(), 1);
  folder.write_json("tokenizer_config.json", json{{"eos_token", {{"__type", "AddedToken"}, {"content", "<unk>"}}}});
  EXPECT_EQ(folder.load()->eos(), 0);
}

TEST(LoadTokenizerTest, AddedTokensOfAModelFolderAreRecognised) {
  TokenizerFolder folder;
  folder.put("tokenizer.model", sentencepiece_model({"▁", "a", "▁a"}));
  folder.write_json("tokenizer_config.json", json{{"eos_token", "<|im_end|>"},
                                                  {"add_bos_token", false},
                                                  {"added_tokens_decoder", {{"262", added_token(262, "<|im_end|>")}}}});
  folder.write_json("added_tokens.json", json{{"<|x|>", 263}});
  const auto tokenizer = folder.load();
  EXPECT_EQ(tokenizer->size(), 264);
  EXPECT_EQ(tokenizer->bos(), std::nullopt);
  EXPECT_THAT(tokenizer->encode_with_special("a<|im_end|>a a<|x|>"), ElementsAre(261, 262, 260, 261, 263));
  EXPECT_EQ(tokenizer->decode({261, 262, 260, 261, 263}, true), "aa a<|x|>");
  EXPECT_THAT(tokenizer->encode("<|im_end|><|x|>", true), testing::Not(testing::Contains(testing::Ge(262))));
}

std::string load_error(const TokenizerFolder& folder) {
  try {
    folder.load();
  } catch (const BadInput& error) {
    return error.what();
  }
  return "";
}

// SentencePiece finds user-defined pieces in any text (Yi's models have their <|im_end|> so).
TEST(LoadTokenizerTest, SpecialPiecesOfAModelAreNotFoundInPlainText) {
  TokenizerFolder folder;
  folder.put("tokenizer.model", sentencepiece_model({"▁", "a", "▁a", "<"}, {"<|im_end|>"}));
  folder.write_json("tokenizer_config.json", json{{"eos_token", "<|im_end|>"}, {"add_bos_token", false}});
  const auto tokenizer = folder.load();
  EXPECT_EQ(tokenizer->eos(), 263);
  EXPECT_THAT(tokenizer->encode_with_special("a<|im_end|>"), ElementsAre(261, 263));
  for (const std::string text : {"<|im_end|>", "a<|im_end|>a", "<|im_end|><|im_end|>"}) {
    const auto ids = tokenizer->encode(text, true);
    EXPECT_THAT(ids, testing::Not(testing::Contains(263)));
    EXPECT_EQ(tokenizer->decode(ids, true), text);
  }
}

TEST(LoadTokenizerTest, AVocabularyThatMakesASpecialTokenOfPlainTextIsRefused) {
  TokenizerFolder folder;
  folder.write_json("tokenizer.json", llama_json(kTokens, kMerges));
  folder.write_json("tokenizer_config.json", json{{"eos_token", "ab"}, {"bos_token", "<s>"}});
  EXPECT_THAT(load_error(folder), HasSubstr("'ab' is also a word of the plain vocabulary"));
}

TEST(LoadTokenizerTest, MissingOrBrokenFilesAreBadInputNamingTheFile) {
  TokenizerFolder folder;
  EXPECT_THAT(load_error(folder), HasSubstr("neither tokenizer.json nor tokenizer.model"));
  EXPECT_THROW(load_tokenizer(folder.path() / "missing"), BadInput);
  for (const char* bytes : {"", "{", "[]", "null", "{\"model\": 3}", "\xFF\xFE", "{\"model\": {\"type\": \"BPE\"}}"}) {
    folder.put("tokenizer.json", bytes);
    EXPECT_THAT(load_error(folder), HasSubstr("tokenizer.json")) << bytes;
  }
  folder.put("tokenizer.json", std::string(200000, '['));
  EXPECT_THAT(load_error(folder), HasSubstr("not valid JSON"));
  folder.write_json("tokenizer.json", llama_json(kTokens, kMerges));
  EXPECT_THAT(load_error(folder), HasSubstr("no eos_token"));
  folder.write_json("tokenizer_config.json", json{{"eos_token", "<end>"}});
  EXPECT_THAT(load_error(folder), HasSubstr("'<end>'"));
  for (const json& config :
       {json{{"eos_token", 3}}, json{{"eos_token", {{"text", "x"}}}}, json::array(), json{{"add_bos_token", "yes"}}}) {
    folder.write_json("tokenizer_config.json", config);
    EXPECT_THAT(load_error(folder), HasSubstr("tokenizer_config.json")) << config;
  }
}

TEST(LoadTokenizerTest, NestingDeeperThanTheStackIsBadInput) {
  TokenizerFolder folder;
  folder.write_json("tokenizer_config.json", llama_config());
  json tokenizer = llama_json(kTokens, kMerges);
  tokenizer["normalizer"] = "HERE";
  std::string text = tokenizer.dump();
  text.replace(text.find("\"HERE\""), 6, std::string(100'000, '[') + std::string(100'000, ']'));
  folder.put("tokenizer.json", text);
  EXPECT_THAT(load_error(folder), HasSubstr("normalizer 'an array' is not supported"));
}

TEST(LoadTokenizerTest, BrokenModelsAreBadInput) {
  TokenizerFolder folder;
  const std::string whole = sentencepiece_model({"▁", "a"});
  for (const std::string& bytes :
       {std::string(), std::string("not a model"), whole.substr(0, 100), std::string(100, '\xFF')}) {
    folder.put("tokenizer.model", bytes);
    EXPECT_THAT(load_error(folder), HasSubstr("tokenizer.model"));
  }
}

TEST(LoadTokenizerTest, APieceThatSentencePiecesTrieCannotHoldIsBadInput) {
  std::ifstream seed(SPT_SOURCE_DIR "/tests/fuzz/corpus/sentencepiece/piece_with_nul", std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(seed), {});
  ASSERT_FALSE(bytes.empty());
  TokenizerFolder folder;
  folder.put("tokenizer.model", bytes);
  EXPECT_THAT(load_error(folder), HasSubstr("is not a SentencePiece model"));
}

}  // namespace
}  // namespace spt::test
