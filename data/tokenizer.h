// Text ↔ token ids, equal to Hugging Face's. Reads a folder's tokenizer.json (BPE with byte fallback as Llama exports
// it, or byte-level BPE) or, where there is none, its SentencePiece tokenizer.model; and bos/eos rules from
// tokenizer_config.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spt {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Plain text: special tokens written in it stay text (a record cannot end a turn). `at_start`: the text opens the
  // sequence, so SentencePiece's dummy prefix stands before it; elsewhere there is none. Invalid UTF-8 throws BadInput.
  virtual std::vector<int32_t> encode(std::string_view text, bool at_start) const = 0;
  // As transformers' tokenizer(text): special and other added tokens in the text recognised, the tokenizer's own BOS
  // (and EOS) rule applied.
  virtual std::vector<int32_t> encode_with_special(std::string_view text) const = 0;
  // Special tokens are left out, and so are ids of no token (a padded vocabulary). Bytes that are not whole UTF-8
  // characters become U+FFFD. `at_start` strips the dummy prefix's space from the first token.
  virtual std::string decode(const std::vector<int32_t>& ids, bool at_start) const = 0;
  // One token's own text, specials included: for showing ids one by one.
  virtual std::string piece(int32_t id) const = 0;

  virtual int64_t size() const = 0;                                         // highest id + 1
  virtual std::optional<int32_t> special(std::string_view text) const = 0;  // id of a special or other added token
  std::optional<int32_t> bos() const { return bos_; }                       // nullopt: the tokenizer puts none in front
  int32_t eos() const { return eos_; }
  // The text of the bos_token named by the folder, also where none is put in front; may be empty.
  const std::string& bos_text() const { return bos_text_; }
  const std::string& eos_text() const { return eos_text_; }
  // SHA-256 of the file read and of the ids of BOS and EOS, which other files name: ties corpus and model together.
  const std::string& sha256() const { return sha256_; }
  // tokenizer.json, tokenizer.model, tokenizer_config.json, special_tokens_map.json, …: those present, for copying into
  // hf/.
  const std::vector<std::filesystem::path>& files() const { return files_; }

 protected:
  // Throws BadInput for text that is not UTF-8 or too long, with the offset.
  static void check_text(std::string_view text);

  std::optional<int32_t> bos_;
  int32_t eos_ = -1;
  std::string bos_text_, eos_text_;
  std::string sha256_;
  std::vector<std::filesystem::path> files_;

 private:
  friend std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);
};

// Throws BadInput: no tokenizer file, broken JSON, a kind of model, normalizer or pre-tokenizer that is not known
// (named).
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

}  // namespace spt
