#include "data/ablation.h"

#include <array>
#include <cctype>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fields.h"
#include "data/sentences.h"

namespace spt {
namespace {

constexpr std::string_view kRestatement = "The user";

bool is_restatement(std::string_view sentence) {
  if (!sentence.starts_with(kRestatement)) return false;
  const auto next =
      static_cast<unsigned char>(sentence.size() > kRestatement.size() ? sentence[kRestatement.size()] : ' ');
  return std::isalnum(next) == 0;
}

// Words that most vocabularies hold as one token, so that fillers of any length can be made.
constexpr std::array<std::string_view, 24> kFiller = {"reading", "a",    "line", "of",   "text", "that", "is",   "here",
                                                      "for",     "its",  "size", "and",  "has",  "no",   "more", "to",
                                                      "say",     "than", "this", "line", "of",   "text", "says", "now"};

std::string filler(const std::string& prefix, size_t words) {
  std::string text = prefix;
  for (size_t i = 0; i < words; ++i) text += fmt::format(" {}", kFiller[i % kFiller.size()]);
  return text + ".";
}

}  // namespace

void AblationConfig::check(Arm arm) const {
  const bool changes_roles = roles != Roles::kOwn || !restatement || !role_loss;
  if (arm == Arm::kPlain && changes_roles)
    throw BadInput("--roles, --no-restatement and --no-role-loss change the role prompt, --arm plain has none");
  if (roles == Roles::kGeneric && !restatement)
    throw BadInput("--no-restatement changes nothing with --roles generic, which restates no question: leave one out");
}

std::string AblationConfig::to_json() const {
  return nlohmann::ordered_json{{"system", system},
                                {"roles", fields_detail::format_any(roles)},
                                {"restatement", restatement},
                                {"role_loss", role_loss}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

ChatTemplate with_system(const ChatTemplate& chat_template, const std::string& system) {
  if (system == "default") return chat_template;
  if (system == "none") return chat_template.with_system("");
  if (system == "role")
    return chat_template.with_system(
        fmt::format("A conversation between a user and an AI assistant. The assistant first writes, in a paragraph of "
                    "its own that begins "
                    "with \"{}\", which expert it is and what the user wants to know; then it gives a helpful, "
                    "detailed and accurate answer.",
                    chat_template.role_prefix()));
  return chat_template.with_system(system);
}

std::optional<std::string> without_restatement(const std::string& role) {
  std::string rest;
  bool found = false;
  for (const std::string_view sentence : sentences_of(role)) {
    if (is_restatement(sentence))
      found = true;
    else
      rest += sentence;
  }
  if (!found) return std::nullopt;
  rest.erase(rest.find_last_not_of(" \t\r\n") + 1);
  return rest;
}

std::string generic_role(const std::string& role_prefix) {
  return role_prefix + " an expert in the field of this question.";
}

std::string filler_role(const Record& record, const ChatTemplate& chat_template, const Tokenizer& tokenizer) {
  Record changed = record;
  changed.turns.resize(2);  // only the first answer has the role before it
  const auto size_with = [&](const std::string& role) {
    changed.role = role;
    return chat_template.encode(changed, Arm::kRole, tokenizer).ids.size();
  };
  const std::string& prefix = chat_template.role_prefix();
  const size_t wanted = size_with(*record.role);
  size_t low = 0, high = record.role->size();  // a word has a token at least, a token a byte
  while (low < high) {                         // the most words that are not too many
    const size_t middle = (low + high + 1) / 2;
    if (size_with(filler(prefix, middle)) <= wanted)
      low = middle;
    else
      high = middle - 1;
  }
  std::string nearest = filler(prefix, low);
  if (size_with(nearest) >= wanted) return nearest;
  // The next word has several tokens: full stops take their place.
  std::string close = nearest, spaced = nearest;
  for (int stops = 0; stops < 8; ++stops) {
    if (size_with(close += ".") == wanted) return close;
    if (size_with(spaced += " .") == wanted) return spaced;
  }
  return nearest;
}

}  // namespace spt
