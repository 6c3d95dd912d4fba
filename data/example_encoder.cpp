#include "data/example_encoder.h"

#include <algorithm>

namespace spt {

std::optional<PreparedExample> ExampleEncoder::encode(Record record) const {
  PreparedExample example;
  const bool has_role = config_.arm == Arm::kRole;
  if (has_role) {
    const AblationConfig& ablation = config_.ablation;
    if (!ablation.restatement) {
      const auto shorter = without_restatement(*record.role);
      example.without_restatement = !shorter;
      if (shorter) record.role = shorter;
    }
    if (ablation.roles == Roles::kGeneric) record.role = generic_role(template_.role_prefix());
    if (ablation.roles == Roles::kFiller) record.role = filler_role(record, template_, tokenizer_);
    example.long_role = is_long(*record.role);
  }
  EncodedExample encoded = template_.encode(record, config_.arm, tokenizer_, config_.ablation.role_loss);
  example.ids = std::move(encoded.ids);
  example.trained = std::move(encoded.trained);
  if (example.ids.size() > config_.max_tokens) {
    // Asked of the context, not of the mask, so that all arms and ablations keep the same records.
    if (encoded.context >= config_.max_tokens) return std::nullopt;
    example.ids.resize(config_.max_tokens);
    example.trained.resize(config_.max_tokens);
    example.truncated = true;
  }
  return example;
}

// A token has at least one byte, so most roles need no second encoding.
bool ExampleEncoder::is_long(const std::string& role) const {
  return role.size() + 3 > kMaxRoleTokens && tokenizer_.encode(" " + role + "\n\n", false).size() > kMaxRoleTokens;
}

}  // namespace spt
