// The items of an evaluation, dealt to the data-parallel ranks as they ask, measured and written down as each ends.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "dist/mesh.h"
#include "trainer/eval_inputs.h"
#include "trainer/eval_portions.h"
#include "trainer/model/causal_lm.h"

namespace spt {

struct JournalPlace {
  std::filesystem::path run;     // may get a file STOP
  std::filesystem::path folder;  // of the journal
  nlohmann::json depends_on;     // eval_journal.h
};

struct MeasuredItems {
  std::vector<nlohmann::ordered_json> samples;  // on the first tp rank of each dp rank: those that it measured
  bool stopped = false;                         // on request, before all was measured
};

// All but `known`. Collective. Throws Failure: a log-likelihood that is not finite; the journal cannot be written.
MeasuredItems measure_items(CausalLm& model, const EvalInputs& inputs, const EvalConfig::Eval& config, Runtime& runtime,
                            const Mesh& mesh, const JournalPlace& journal, const std::set<SampleKey>& known);

}  // namespace spt
