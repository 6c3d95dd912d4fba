// tokenizer.json of Hugging Face's `tokenizers`, with a model of type BPE. The file is the truth: where transformers 5
// builds another pipeline for a `tokenizer_class` of its own (its GPT2Tokenizer forgets a Digits pre-tokenizer), this
// follows the file, as PreTrainedTokenizerFast does.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/tokenizer.h"
#include "data/tokenizer_added.h"
#include "data/tokenizer_bpe.h"
#include "data/tokenizer_decoder.h"
#include "data/tokenizer_settings.h"
#include "data/tokenizer_words.h"

namespace spt {

class JsonTokenizer : public Tokenizer {
 public:
  // Throws BadInput (without the path) or nlohmann's exception for what it cannot follow.
  JsonTokenizer(const nlohmann::json& json, const TokenizerSettings& settings);

  std::vector<int32_t> encode(std::string_view text, bool at_start) const override;
  std::vector<int32_t> encode_with_special(std::string_view text) const override;
  std::string decode(const std::vector<int32_t>& ids, bool at_start) const override;
  std::string piece(int32_t id) const override;
  int64_t size() const override { return size_; }
  std::optional<int32_t> special(std::string_view text) const override;

 private:
  void add_token(AddedToken token);
  void read_added(const nlohmann::json& json, const TokenizerSettings& settings);
  void read_post_processor(const nlohmann::json& json);
  void read_template(const nlohmann::json& json);
  void choose_bos_eos(const TokenizerSettings& settings);
  void append(std::string_view text, Place place, bool markup, std::vector<int32_t>& ids) const;
  std::string text_of(int32_t id) const;  // empty: no such token

  Bpe bpe_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  Decoder decoder_;
  std::unordered_map<std::string, AddedToken> added_;
  std::unordered_map<int32_t, std::string> added_texts_;
  std::set<int32_t> special_ids_;
  AddedTokenFinder finder_, normalized_finder_;  // in the text as it is, and in the normalized text
  std::vector<int32_t> before_, after_;          // what encode_with_special puts around the text
  int64_t size_;
};

}  // namespace spt
