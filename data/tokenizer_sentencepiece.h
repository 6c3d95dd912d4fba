// SentencePiece models (tokenizer.model) through Google's library. It is loaded twice: once as it is, and once with the
// dummy prefix switched off for text that continues other text.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer.h"
#include "data/tokenizer_added.h"
#include "data/tokenizer_settings.h"
#include "data/tokenizer_word_cache.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace spt {

class SentencePieceTokenizer : public Tokenizer {
 public:
  // `model`: the file's bytes. Throws BadInput (without the path).
  SentencePieceTokenizer(const std::string& model, const TokenizerSettings& settings);
  ~SentencePieceTokenizer() override;

  std::vector<int32_t> encode(std::string_view text, bool at_start) const override;
  // As transformers does it with legacy=false: text after a special token gets no dummy prefix.
  std::vector<int32_t> encode_with_special(std::string_view text) const override;
  std::string decode(const std::vector<int32_t>& ids, bool at_start) const override;
  std::string piece(int32_t id) const override;
  int64_t size() const override { return size_; }
  std::optional<int32_t> special(std::string_view text) const override;

 private:
  using Processor = sentencepiece::SentencePieceProcessor;
  void read_added(const TokenizerSettings& settings);
  void choose_bos_eos(const TokenizerSettings& settings);
  void append(std::string_view text, bool at_start, bool markup, std::vector<int32_t>& ids) const;
  void append_plain(std::string_view plain, bool opens, std::vector<int32_t>& ids) const;
  bool in_model(int32_t id) const;
  bool may_cut(const std::string& model) const;

  std::unique_ptr<Processor> opening_, continuing_;  // with the model's dummy prefix, and without
  std::unordered_map<std::string, int32_t> added_;
  std::unordered_map<int32_t, std::string> added_texts_;
  std::set<int32_t> special_ids_;
  AddedTokenFinder finder_;
  AddedTokenFinder in_plain_text_;  // special tokens that the model makes of plain text (user-defined pieces)
  std::vector<int32_t> before_, after_;
  int64_t size_;
  bool cuts_at_marks_;  // see tokenizer_word_cache.h
  WordCache cache_;
};

}  // namespace spt
