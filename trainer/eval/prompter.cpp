#include "trainer/eval/prompter.h"

#include <fmt/format.h>

#include "base/error.h"

namespace spt {

namespace {
constexpr const char* kBlankLine = "\n\n";
}  // namespace

// The whole conversation up to the end of the assistant's `turn`, without its EOS.
std::vector<int32_t> Prompter::assistant_ids(const std::string& text, const std::optional<std::string>& role,
                                             const std::string& turn) const {
  Record record;
  record.turns = {role && role_in_ == RoleIn::kUser ? *role + kBlankLine + text : text, turn};
  if (role && role_in_ == RoleIn::kSystem) record.system = *role;
  if (role && role_in_ == RoleIn::kAssistant) record.turns[1] = *role + kBlankLine + turn;
  std::vector<int32_t> ids = template_->encode(record, Arm::kPlain, tokenizer_).ids;
  while (!ids.empty() && ids.back() != tokenizer_.eos()) ids.pop_back();  // a template's text behind the EOS
  if (!ids.empty()) ids.pop_back();
  return ids;
}

std::vector<int32_t> Prompter::prompt(const std::string& text, const std::optional<std::string>& role) const {
  if (!template_) return tokenizer_.encode_with_special(role ? *role + kBlankLine + text : text);
  if (!role || role_in_ != RoleIn::kAssistant) {
    const bool in_system = role && role_in_ == RoleIn::kSystem;
    const std::string question = role && role_in_ == RoleIn::kUser ? *role + kBlankLine + text : text;
    return template_->encode_prompt({question}, in_system ? role : std::nullopt, tokenizer_);
  }
  // A letter behind the blank line, taken off again: the blank line is encoded as it is in front of an answer.
  const std::string letter = "A";
  std::vector<int32_t> ids = assistant_ids(text, role, letter);
  if (ids.empty() || tokenizer_.decode({ids.back()}, false) != letter)
    throw BadInput(
        "this tokenizer joins a blank line with the letter behind it: a role cannot be given in the "
        "assistant's turn; choose eval.role_in user or system");
  ids.pop_back();
  return ids;
}

std::vector<int32_t> Prompter::option(size_t prompt_tokens, const std::string& text,
                                      const std::optional<std::string>& role, const std::string& option) const {
  const std::vector<int32_t> whole =
      template_ ? assistant_ids(text, role, option)
                : tokenizer_.encode_with_special((role ? *role + kBlankLine + text : text) + " " + option);
  if (whole.size() <= prompt_tokens) throw BadInput(fmt::format("option '{}' takes no token of its own", option));
  return {whole.begin() + static_cast<std::ptrdiff_t>(prompt_tokens), whole.end()};
}

std::vector<int32_t> Prompter::trigger(const std::string& text) const {
  return tokenizer_.encode("\n" + text, false);
}

RoleAndAnswer Prompter::split(const std::vector<int32_t>& output) const {
  if (template_) return template_->split(output, tokenizer_);
  RoleAndAnswer split;
  split.output = split.answer = text(output);
  return split;
}

std::string Prompter::text(const std::vector<int32_t>& output) const {
  return tokenizer_.decode(output, false);
}

int64_t Prompter::role_tokens(const std::vector<int32_t>& output) const {
  if (!template_ || !split(output).role) return 0;
  size_t count = 1;
  while (count < output.size() && !split({output.begin(), output.begin() + static_cast<std::ptrdiff_t>(count)}).role)
    ++count;
  return static_cast<int64_t>(count);
}

bool Prompter::may_become_role(const std::vector<int32_t>& output) const {
  return template_ && output.size() < kMaxRoleTokens && !split(output).role &&
         split(output).output.starts_with(template_->role_prefix());
}

std::optional<int32_t> Prompter::role_begin() const {
  if (!template_) return std::nullopt;
  const std::string question = "?";
  const size_t begin = template_->encode_prompt({question}, std::nullopt, tokenizer_).size();
  const std::vector<int32_t> whole = assistant_ids(question, std::nullopt, template_->role_prefix());
  return whole.size() > begin ? std::optional(whole[begin]) : std::nullopt;
}

}  // namespace spt
