// One record → one example of a corpus: the role that the ablation asks for, encoded, trimmed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "data/ablation.h"

namespace spt {

struct PreparedExample {
  std::vector<int32_t> ids;
  std::vector<uint8_t> trained;
  bool truncated = false;            // cut at the limit: no EOS at its end
  bool long_role = false;            // ChatTemplate::split would not find the role
  bool without_restatement = false;  // --no-restatement found nothing to leave out
};

class ExampleEncoder {
 public:
  struct Config {
    Arm arm;
    AblationConfig ablation;
    size_t max_tokens;
  };
  // Keeps references to the template and the tokenizer.
  ExampleEncoder(Config config, const ChatTemplate& chat_template, const Tokenizer& tokenizer)
      : config_(std::move(config)), template_(chat_template), tokenizer_(tokenizer) {}

  // nullopt: no answer's token within max_tokens. Arm kRole wants `record.role`. Safe to call from several threads.
  std::optional<PreparedExample> encode(Record record) const;

 private:
  bool is_long(const std::string& role) const;

  Config config_;
  const ChatTemplate& template_;
  const Tokenizer& tokenizer_;
};

}  // namespace spt
