// What the outputs of a task have of roles: how many, how long, whose.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/lengths.h"
#include "trainer/eval/samples.h"

namespace spt {

// Whom a role speaks to: what stands behind "You are" and an article (a, an, the), in lower case, up to the first
// . , ; : ( ) ! ? or line end, or the first of the words kExpertEnds; at most kExpertWords words. Empty where the role
// begins otherwise, or nothing is left. "You are a marine biologist who studies reefs." → "marine biologist".
std::string expert_of(std::string_view role);

inline constexpr size_t kExpertWords = 8;
inline constexpr std::string_view kExpertEnds[] = {
    "that",  "who",     "whose",  "whom",         "which",        "where",       "when",
    "with",  "to",      "tasked", "specializing", "specialising", "specialized", "specialised",
    "asked", "helping", "able",   "capable",      "trained",      "known"};

struct RoleStatistics {
  int64_t answers = 0;
  int64_t with_role = 0;          // the model's own
  int64_t given = 0;              // a role that eval.role put there; counts nowhere else
  int64_t asked_to_extract = 0;   // answers from which something is to be extracted
  int64_t nothing_extracted = 0;  // of those
  int64_t cut = 0;                // by the limit of new tokens
  std::vector<int64_t> words;     // of each role of the model's own (data/word_ngrams.h)
  std::map<std::string, int64_t> experts;

  void add(const AnsweredSample& sample);
  void add(const RoleStatistics& other);
};

// The most frequent experts with their counts, the alphabet deciding between equals.
std::vector<std::pair<std::string, int64_t>> top_experts(const RoleStatistics& roles, size_t most);

}  // namespace spt
