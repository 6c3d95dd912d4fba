// What a data-parallel rank takes at a time of the items to measure.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "trainer/eval_inputs.h"

namespace spt {

using SampleKey = std::pair<std::string, std::string>;  // task, id

struct Portion {
  bool is_pass = false;  // questions whose options are scored in one pass, or examples of a corpus; else one question
  std::vector<size_t> items;  // of EvalInputs::items
};

// An item to measure in a pass.
struct PassItem {
  size_t item;     // of EvalInputs::items
  int64_t tokens;  // that the pass computes for it
  bool is_first;   // of its task or behind its examples: begins a portion
};

// For several ranks portions get shorter towards the end (guided self-scheduling, Polychronopoulos and Kuck, 1987: half
// of what is left, shared by the ranks), so that no rank waits long for another.
std::vector<Portion> deal_passes(const std::vector<PassItem>& items, int64_t pass_tokens, int ranks);

// All but `known`, for `ranks` data-parallel ranks; the same on every rank. First the passes, each of one task's items
// with the same examples in front and about `pass_tokens` more tokens, less towards the end; then the questions to
// answer, the longest first: so the ranks finish together. Where examples are not shared, or a role of the item's own
// may stand in front of them, they count in the pass.
std::vector<Portion> portions_of(const EvalInputs& inputs, const std::set<SampleKey>& known, int64_t pass_tokens,
                                 bool examples_are_shared, int ranks);

}  // namespace spt
