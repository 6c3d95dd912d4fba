// What a corpus holds, counted.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/lengths.h"
#include "data/tokenizer.h"

namespace spt {

struct RoleStatistics {
  int64_t examples = 0;  // whose first assistant turn begins with a role
  int64_t tokens = 0;    // of all roles, each with the blank line that ends it
  int64_t trained = 0;   // of these tokens
};

struct CorpusStatistics {
  Lengths tokens;                            // of the examples
  std::map<std::string, Lengths> by_source;  // the same, by the examples' source
  std::vector<HistogramBin> histogram;       // of the examples' tokens
  int64_t trained_tokens = 0;
  // Told by decoding, so only with a tokenizer; of a plain corpus none has a role.
  std::optional<RoleStatistics> roles;
};

// Reads every row. `tokenizer` may be null. Throws BadInput on a damaged corpus, or one of another tokenizer's.
CorpusStatistics corpus_statistics(const Dataset& corpus, const Tokenizer* tokenizer);

}  // namespace spt
