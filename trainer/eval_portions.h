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

// All but `known`: first the passes, each of one task's items with the same examples in front and about `pass_tokens`
// more tokens, then the questions to answer, the longest first, so that the ranks finish together. The same on every
// rank. Where examples are not shared, or a role of the item's own may stand in front of them, they count in the pass.
std::vector<Portion> portions_of(const EvalInputs& inputs, const std::set<SampleKey>& known, int64_t pass_tokens,
                                 bool examples_are_shared);

}  // namespace spt
