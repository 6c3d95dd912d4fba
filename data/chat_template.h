// How a conversation becomes token ids: a small YAML file (configs/templates/NAME.yaml) and the tokenizer.
//
//   system: text                the system line of a conversation that brings none; may be empty
//   start: text                 opens a conversation, up to where the assistant's first turn begins: {system}, {user}
//   start_without_system: text  takes the place of `start` where the system line is empty; {user}
//   answer: text                the assistant's turn, all of it trained: text, {assistant}, text, {eos}
//   next: text                  from the end of the assistant's turn to where its next one begins: {user}
//   role_prefix: text           how every role prompt begins
//
// In `start`, `start_without_system` and `next` there may also be {bos} (nothing where the tokenizer puts no BOS in
// front), {eos} and {special:TEXT}, a special token of the vocabulary. {{ and }} stand for braces.
//
// Special tokens come from these placeholders only; everything else, a record's text above all, is encoded as plain
// text. Text between two special tokens is encoded in one piece, and so is the text of an assistant's turn; a piece of
// its own begins where the assistant's turn begins, so a prompt has the ids it has in training. SentencePiece's dummy
// prefix stands before the sequence's first text only, unless a special token other than {bos} stands before that.
//
// Trained spans can be told apart: one begins behind a word or a special token of the template (not only white space)
// that follows the user's text, and ends with {eos}, where generation stops; and no blank line of the template's own
// stands behind an answer, where a role ends with one. A template without these is refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fields.h"
#include "data/records.h"
#include "data/tokenizer.h"

namespace spt {

// kRole: the assistant's first turn is the role prompt, a blank line, and the answer. kPlain: the answer alone.
enum class Arm { kRole, kPlain };
inline std::vector<std::pair<std::string, Arm>> enum_names(Arm) {
  return {{"role", Arm::kRole}, {"plain", Arm::kPlain}};
}

struct EncodedExample {
  std::vector<int32_t> ids;
  std::vector<uint8_t> trained;  // 1: the loss asks for this token
  size_t context = 0;            // tokens before the assistant's first turn
};

struct RoleAndAnswer {
  std::string output;  // the whole text without the space that the template puts in front of an assistant's turn
  std::optional<std::string> role;
  std::string answer;
};

// A blank line must follow within this many tokens for an output's beginning to be a role.
inline constexpr size_t kMaxRoleTokens = 200;

// The keys of a template file.
std::vector<FieldLister::Line> template_fields();

class ChatTemplate {
 public:
  // A NAME in configs/templates (data/named_config.h), or, when it has a slash or ends in .yaml, a file. Throws
  // BadInput naming the file: missing, unknown keys, misplaced placeholders.
  static ChatTemplate load(const std::string& name_or_file);
  static ChatTemplate parse(const std::string& yaml, const std::string& origin);

  const std::string& text() const { return text_; }  // the YAML: what `parse` reads again
  const std::string& system() const { return system_; }
  const std::string& role_prefix() const { return role_prefix_; }

  // The same template with another system line ("" for none), which its text() has too. Throws BadInput for none where
  // there is no start_without_system.
  ChatTemplate with_system(const std::string& system) const;

  // The whole conversation, not trimmed; the mask is 1 on assistant turns; without `role_loss`, from the answer on. Arm
  // kRole wants `record.role`. Throws BadInput when the tokenizer lacks a special token of the template.
  EncodedExample encode(const Record& record, Arm arm, const Tokenizer& tokenizer, bool role_loss = true) const;

  // Turns user, assistant, …, user → ids up to where the assistant begins: those of `encode` for the same turns.
  // Earlier assistant turns stand as given (a role in them is the caller's).
  std::vector<int32_t> encode_prompt(const std::vector<std::string>& turns, const std::optional<std::string>& system,
                                     const Tokenizer& tokenizer) const;

  // What stands between the user's first turn and the assistant's, special tokens as they are written.
  std::string mark_before_answer(const Tokenizer& tokenizer) const;

  // Tells the role from the answer in a generated sequence (without its EOS). There is a role if and only if the text
  // begins with the role prefix and a blank line follows within kMaxRoleTokens tokens.
  RoleAndAnswer split(const std::vector<int32_t>& output, const Tokenizer& tokenizer) const;

  // The same prompts as a Hugging Face chat_template (Jinja). A system message takes the place of the system line.
  // transformers recognises special tokens written in messages and encodes earlier answers together with the text
  // before them, so ids agree where no message holds a special token's text and no token of the vocabulary crosses that
  // place.
  std::string jinja(const Tokenizer& tokenizer) const;

 private:
  struct Part {
    enum class Kind { kText, kBos, kEos, kSpecial, kSystem, kUser, kAssistant } kind;
    std::string text;  // of kText and kSpecial
  };
  using Parts = std::vector<Part>;
  struct Fill {
    std::string_view system, user;
  };
  class Encoder;
  class Parser;

  ChatTemplate() = default;
  const Parts& opening(std::string_view system) const;
  std::string assistant_text(std::string_view turn) const;  // with the template's text around it, without EOS
  static std::string jinja_of(const Parts& parts, const Tokenizer& tokenizer);
  static std::string jinja_of_opening(const Parts& parts, const Tokenizer& tokenizer);

  std::string text_, origin_, system_, role_prefix_;
  Parts start_, start_without_system_, next_;
  std::string before_answer_, after_answer_;
};

}  // namespace spt
