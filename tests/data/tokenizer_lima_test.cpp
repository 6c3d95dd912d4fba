// Equality with Hugging Face and SentencePiece on all of LIMA, by the digests of
// tests/golden/make_tokenizer_digests.py.
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/sha256.h"
#include "tests/data/tokenizer_files.h"

namespace spt::test {
namespace {

using nlohmann::json;

std::filesystem::path shared_data() {
  if (const char* folder = std::getenv("SPT_SHARED_DATA")) return folder;
  return std::filesystem::path(SPT_SOURCE_DIR) / ".." / "shared" / "data";
}

std::vector<std::string> read_turns(const std::filesystem::path& path) {
  std::vector<std::string> turns;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const json record = json::parse(line);
    for (const json& turn : record.at("conversations")) turns.push_back(turn);
  }
  return turns;
}

void update(Sha256& digest, const std::vector<int32_t>& ids) {
  digest.update(ids.data(), ids.size() * sizeof(int32_t));  // little-endian machines only, as all of spt
}

class TokenizerLimaTest : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Tokenizers, TokenizerLimaTest,
                         testing::Values("tokenizers/llama2/tokenizer.json", "tokenizers/llama2/tokenizer.model",
                                         "tokenizers/mistral_v0.1/tokenizer.json",
                                         "tokenizers/mistral_v0.1/tokenizer.model",
                                         "weights/smollm2-135m-instruct/tokenizer.json",
                                         "weights/tinystories-656K-hf/tokenizer.json"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           for (char& c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           return name;
                         });

TEST_P(TokenizerLimaTest, Ids_EqualTheReferenceOnAllOfLima) {
  const std::filesystem::path file = shared_data() / GetParam();
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is not there";
  const std::filesystem::path lima = shared_data() / "lima" / "train.jsonl";
  if (!std::filesystem::exists(lima)) GTEST_SKIP() << lima << " is not there";
  const std::vector<std::string> turns = read_turns(lima);
  ASSERT_EQ(turns.size(), 2169u);
  std::ifstream golden(std::filesystem::path(SPT_SOURCE_DIR) / "tests/golden/tokenizer_digests.json");
  const json wanted = json::parse(golden).at("digests").at(GetParam());

  TokenizerFolder folder;  // with this tokenizer file alone
  for (const std::filesystem::path& path :
       {file, file.parent_path() / "tokenizer_config.json", file.parent_path() / "special_tokens_map.json"})
    if (std::filesystem::exists(path)) std::filesystem::copy_file(path, folder.path() / path.filename());

  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer = folder.load();
  const auto loaded = std::chrono::steady_clock::now();
  std::vector<std::vector<int32_t>> plain;
  for (const std::string& turn : turns) plain.push_back(tokenizer->encode(turn, true));
  const auto encoded = std::chrono::steady_clock::now();
  const auto seconds = [](auto from, auto to) { return std::chrono::duration<double>(to - from).count(); };
  std::cout << GetParam() << ": loaded in " << seconds(start, loaded) << " s, " << turns.size() << " turns encoded in "
            << seconds(loaded, encoded) << " s\n";

  Sha256 plain_digest, special_digest, decoded_digest;
  for (size_t i = 0; i < turns.size(); ++i) {
    update(plain_digest, plain[i]);
    update(special_digest, tokenizer->encode_with_special(turns[i] + tokenizer->eos_text() + " x"));
    decoded_digest.update(tokenizer->decode(plain[i], true));
  }
  EXPECT_EQ(plain_digest.hex(), wanted.at("plain"));
  EXPECT_EQ(special_digest.hex(), wanted.at("special"));
  EXPECT_EQ(decoded_digest.hex(), wanted.at("decoded"));
}

}  // namespace
}  // namespace spt::test
