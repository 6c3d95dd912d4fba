// A task's question as token ids, with a role prompt where one is given from outside.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/chat_template.h"
#include "data/tokenizer.h"

namespace spt {

// Where a given role stands: at the head of the assistant's turn, as a self-written one does; before the question; in
// place of the system line.
enum class RoleIn { kAssistant, kUser, kSystem };
inline std::vector<std::pair<std::string, RoleIn>> enum_names(RoleIn) {
  return {{"assistant", RoleIn::kAssistant}, {"user", RoleIn::kUser}, {"system", RoleIn::kSystem}};
}

class Prompter {
 public:
  // Without a template the text is fed as it is, with the tokenizer's own BOS rule; a role stands before it then.
  Prompter(std::optional<ChatTemplate> chat_template, const Tokenizer& tokenizer, RoleIn role_in)
      : template_(std::move(chat_template)), tokenizer_(tokenizer), role_in_(role_in) {}

  // Up to where the model goes on; with a role in the assistant's turn, behind it and its blank line.
  std::vector<int32_t> prompt(const std::string& text, const std::optional<std::string>& role) const;
  // The ids of `option` as the answer behind that prompt, which has `prompt_tokens`. Without a template as
  // lm-evaluation-harness splits them: those of "TEXT OPTION" behind as many as TEXT alone has.
  std::vector<int32_t> option(size_t prompt_tokens, const std::string& text, const std::optional<std::string>& role,
                              const std::string& option) const;
  // What is fed behind an answer, in the assistant's turn: a line end and the text.
  std::vector<int32_t> trigger(const std::string& text) const;
  // What the model wrote behind `prompt`: its role only where none was given.
  RoleAndAnswer split(const std::vector<int32_t>& output) const;
  std::string text(const std::vector<int32_t>& output) const;

  // The number of tokens up to and with the blank line that ends a role; 0: the output has none.
  int64_t role_tokens(const std::vector<int32_t>& output) const;
  // The output begins as a role and may yet become one.
  bool may_become_role(const std::vector<int32_t>& output) const;
  // The token that a role begins with, which to forbid at the head of the turn; nullopt without a template.
  std::optional<int32_t> role_begin() const;

  const ChatTemplate* chat_template() const { return template_ ? &*template_ : nullptr; }

 private:
  std::vector<int32_t> assistant_ids(const std::string& text, const std::optional<std::string>& role,
                                     const std::string& turn) const;

  std::optional<ChatTemplate> template_;
  const Tokenizer& tokenizer_;
  RoleIn role_in_;
};

}  // namespace spt
