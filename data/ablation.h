// The ablations that are a matter of data: what the role prompts and the system line of a corpus are, everything else
// equal. The corpus's attribute `ablation` holds them (to_json).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/chat_template.h"
#include "data/tokenizer.h"

namespace spt {

enum class Roles {
  kOwn,       // the record's
  kShuffled,  // another record's, each record's role going to one other
  kGeneric,   // the same for all: an expert in the field
  kFiller,    // words that say nothing, as many tokens as the record's role
};
inline std::vector<std::pair<std::string, Roles>> enum_names(Roles) {
  return {
      {"own", Roles::kOwn}, {"shuffled", Roles::kShuffled}, {"generic", Roles::kGeneric}, {"filler", Roles::kFiller}};
}

struct AblationConfig {
  std::string system =
      "default";  // default: the template's line; none; role: a line that asks for a role; else the line
  Roles roles = Roles::kOwn;
  bool restatement = true;  // false: without the sentences of the role that restate the question
  bool role_loss = true;    // false: the role's tokens are not trained

  // Throws BadInput where a switch would change nothing: those of roles in the plain arm, restatement of generic roles.
  void check(Arm arm) const;
  std::string to_json() const;
};

// The template with the system line that `system` names; a record's own system message still goes before it. Throws
// BadInput for none where the template has no start_without_system.
ChatTemplate with_system(const ChatTemplate& chat_template, const std::string& system);

// The role without its sentences that begin with "The user"; nullopt: it has none.
std::optional<std::string> without_restatement(const std::string& role);

std::string generic_role(const std::string& role_prefix);

// A role of neutral words with which the record has as many tokens as with its own role, or, where the vocabulary
// allows none, a few less.
std::string filler_role(const Record& record, const ChatTemplate& chat_template, const Tokenizer& tokenizer);

}  // namespace spt
