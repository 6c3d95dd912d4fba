#include <fmt/format.h>

#include "data/chat_template.h"

namespace spt {
namespace {

std::string literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\'' || c == '\\')
      out += std::string("\\") + c;
    else
      out += c;
  }
  return out + "'";
}

// transformers puts SentencePiece's dummy prefix at the beginning of the string only, so not after a BOS written in it;
// a space becomes the same token.
bool has_dummy_prefix(const Tokenizer& tokenizer) {
  return tokenizer.encode("A", true) != tokenizer.encode("A", false);
}

}  // namespace

// The parts as one Jinja expression.
std::string ChatTemplate::jinja_of(const Parts& parts, const Tokenizer& tokenizer) {
  std::vector<std::string> terms;
  for (const Part& part : parts) {
    switch (part.kind) {
      case Part::Kind::kText:
      case Part::Kind::kSpecial:
        terms.push_back(literal(part.text));
        break;
      case Part::Kind::kBos:
        if (tokenizer.bos()) terms.push_back(literal(tokenizer.bos_text()));
        break;
      case Part::Kind::kEos:
        terms.push_back(literal(tokenizer.eos_text()));
        break;
      case Part::Kind::kSystem:
        terms.emplace_back("system");
        break;
      case Part::Kind::kUser:
      case Part::Kind::kAssistant:
        terms.emplace_back("message['content']");
        break;
    }
  }
  return fmt::format("{}", fmt::join(terms, " + "));
}

std::string ChatTemplate::jinja_of_opening(const Parts& parts, const Tokenizer& tokenizer) {
  using Kind = Part::Kind;
  Parts spaced = parts;
  const bool text_follows_bos =
      parts.size() > 1 && parts[0].kind == Kind::kBos && tokenizer.bos() &&
      (parts[1].kind == Kind::kText || parts[1].kind == Kind::kSystem || parts[1].kind == Kind::kUser);
  if (text_follows_bos && has_dummy_prefix(tokenizer)) spaced.insert(spaced.begin() + 1, {Kind::kText, " "});
  return jinja_of(spaced, tokenizer);
}

std::string ChatTemplate::jinja(const Tokenizer& tokenizer) const {
  const std::string start = jinja_of_opening(start_, tokenizer);
  std::string opening = "{{ " + start + " }}";
  if (!start_without_system_.empty())
    opening = "{% if system %}" + opening + "{% else %}{{ " + jinja_of_opening(start_without_system_, tokenizer) +
              " }}{% endif %}";
  using Kind = Part::Kind;
  const Parts answer = {
      {Kind::kText, before_answer_}, {Kind::kAssistant, ""}, {Kind::kText, after_answer_}, {Kind::kEos, ""}};
  return "{% if messages and messages[0]['role'] == 'system' %}"
         "{% set system = messages[0]['content'] %}{% set turns = messages[1:] %}"
         "{% else %}{% set system = " +
         literal(system_) +
         " %}{% set turns = messages %}{% endif %}"
         "{% for message in turns %}"
         "{% if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') %}"
         "{{ raise_exception('turns must alternate: user, assistant, user, …') }}{% endif %}"
         "{% if message['role'] == 'assistant' %}{{ " +
         jinja_of(answer, tokenizer) + " }}{% elif loop.first %}" + opening + "{% else %}{{ " +
         jinja_of(next_, tokenizer) + " }}{% endif %}{% endfor %}";
}

}  // namespace spt
