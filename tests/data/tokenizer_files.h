// Small tokenizer folders written by a test.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "data/tokenizer_byte_level.h"
#include "tests/temporary_folder.h"

namespace spt::test {

class TokenizerFolder : public TemporaryFolder {
 public:
  void write_json(const std::string& name, const nlohmann::json& json) const { put(name, json.dump()); }
  std::unique_ptr<Tokenizer> load() const { return load_tokenizer(path()); }
};

inline nlohmann::json added_token(int id, const std::string& text, bool special = true) {
  return {{"id", id},        {"content", text}, {"special", special}, {"normalized", false}, {"single_word", false},
          {"lstrip", false}, {"rstrip", false}};
}

inline nlohmann::json parts(std::initializer_list<const char*> texts) {
  nlohmann::json list = nlohmann::json::array();
  for (const char* text : texts) list.push_back(text);
  return list;
}

// As Llama exports it: <unk> <s> </s>, 256 byte tokens from id 3, then `tokens`; "▁" goes in front, BOS too.
inline nlohmann::json llama_json(const std::vector<std::string>& tokens, const nlohmann::json& merges) {
  nlohmann::json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  const char* digits = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte)
    vocab[std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">"] = 3 + byte;
  for (size_t i = 0; i < tokens.size(); ++i) vocab[tokens[i]] = 259 + i;
  nlohmann::json json = nlohmann::json::parse(R"({
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                   {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": null,
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
    "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true}})");
  json["added_tokens"] = {added_token(0, "<unk>"), added_token(1, "<s>"), added_token(2, "</s>")};
  json["model"]["vocab"] = vocab;
  json["model"]["merges"] = merges;
  return json;
}

inline nlohmann::json llama_config() {
  return {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};
}

// Byte-level: <|endoftext|> <|im_start|> <|im_end|>, the 256 bytes' characters from id 3, then `tokens`; no BOS.
inline nlohmann::json byte_level_json(const std::vector<std::string>& tokens, const nlohmann::json& merges) {
  nlohmann::json vocab = {{"<|endoftext|>", 0}, {"<|im_start|>", 1}, {"<|im_end|>", 2}};
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    vocab[bytes_to_characters({&c, 1})] = 3 + byte;
  }
  for (size_t i = 0; i < tokens.size(); ++i) vocab[tokens[i]] = 259 + i;
  nlohmann::json json = nlohmann::json::parse(R"({
    "normalizer": null,
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},
                      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
    "post_processor": null,
    "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
              "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false}})");
  json["added_tokens"] = {added_token(0, "<|endoftext|>"), added_token(1, "<|im_start|>"),
                          added_token(2, "<|im_end|>")};
  json["model"]["vocab"] = vocab;
  json["model"]["merges"] = merges;
  return json;
}

inline nlohmann::json byte_level_config() {
  return {{"bos_token", "<|im_start|>"}, {"eos_token", "<|im_end|>"}, {"add_bos_token", false}};
}

// Protobuf's wire format, for SentencePiece models: a field of bytes, and one of a varint below 128.
inline std::string field(int number, const std::string& bytes) {
  std::string wire(1, static_cast<char>(number << 3 | 2));
  size_t size = bytes.size();
  for (; size >= 0x80; size >>= 7) wire += static_cast<char>(0x80 | (size & 0x7F));
  return wire + static_cast<char>(size) + bytes;
}
inline std::string field(int number, char value) {
  return {static_cast<char>(number << 3), value};
}

// A BPE model like Llama's: <unk> <s> </s>, 256 byte pieces from id 3, then `pieces`, earlier ones merged first, then
// user-defined ones.
inline std::string sentencepiece_model(const std::vector<std::string>& pieces,
                                       const std::vector<std::string>& user_defined = {}) {
  const auto piece = [](const std::string& text, float score, char type) {
    std::string bytes = field(1, text) + std::string(1, 2 << 3 | 5);
    bytes.append(reinterpret_cast<const char*>(&score), 4);
    return field(1, bytes + field(3, type));
  };
  std::string model = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3);
  const char* digits = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte)
    model += piece(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", 0, 6);
  for (size_t i = 0; i < pieces.size(); ++i) model += piece(pieces[i], -static_cast<float>(i), 1);
  for (const std::string& text : user_defined) model += piece(text, 0, 4);
  const std::string trainer = field(3, char{2}) + std::string("\x98\x02\x01", 3);  // model_type BPE, byte_fallback (35)
  const std::string normalizer = field(1, std::string("identity")) + field(3, char{1}) + field(4, char{0});
  return model + field(2, trainer) + field(3, normalizer);
}

}  // namespace spt::test
