// A tokenizer that a test can follow by hand: one id a byte, so that ids read as text.
#pragma once

#include <map>

#include "data/tokenizer.h"

namespace spt {

class FakeTokenizer : public Tokenizer {
 public:
  static constexpr int32_t kBos = 1, kEos = 2, kDummy = 3, kFirstByte = 10;

  explicit FakeTokenizer(bool has_bos = true) {
    if (has_bos) bos_ = kBos;
    eos_ = kEos;
    bos_text_ = "<s>";
    eos_text_ = "</s>";
    sha256_ = std::string(64, 'a');
  }
  // kDummy stands for SentencePiece's dummy prefix.
  std::vector<int32_t> encode(std::string_view text, bool at_start) const override {
    std::vector<int32_t> ids;
    if (at_start) ids.push_back(kDummy);
    for (const char c : text) ids.push_back(kFirstByte + static_cast<unsigned char>(c));
    return ids;
  }
  std::vector<int32_t> encode_with_special(std::string_view text) const override { return encode(text, true); }
  std::string decode(const std::vector<int32_t>& ids, bool) const override {
    std::string text;
    for (const int32_t id : ids)
      if (id >= kFirstByte && id < kFirstByte + 256) text += static_cast<char>(id - kFirstByte);
    return text;
  }
  // Every id readable: specials as they are written, the dummy prefix as "_".
  std::string read(const std::vector<int32_t>& ids) const {
    std::string text;
    for (const int32_t id : ids) text += piece(id);
    return text;
  }
  std::string piece(int32_t id) const override {
    if (id == kBos) return bos_text_;
    if (id == kEos) return eos_text_;
    if (id == kDummy) return "_";
    for (const auto& [text, special] : specials_)
      if (special == id) return text;
    return std::string(1, static_cast<char>(id - kFirstByte));
  }
  int64_t size() const override { return 300; }
  std::optional<int32_t> special(std::string_view text) const override {
    const auto found = specials_.find(std::string(text));
    return found == specials_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  std::map<std::string, int32_t> specials_ = {
      {"<s>", kBos}, {"</s>", kEos}, {"<|im_start|>", 280}, {"<|im_end|>", 281}};
};

}  // namespace spt
