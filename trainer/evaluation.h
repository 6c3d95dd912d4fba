// `spt eval`: a model measured on tasks (configs/tasks/NAME.yaml), on any dp × tp mesh.
#pragma once

#include "base/error.h"
#include "dist/runtime.h"
#include "trainer/eval_config.h"

namespace spt {

// Collective. Writes run.dir: results.json (a line a task: trainer/eval/results.h) and samples/TASK.jsonl, in the order
// of the data, the same for every number of ranks. Each finished sample goes to run.dir/journal at once: killed or
// stopped (kStopped) and started again it goes on from there, and a finished evaluation is left as it is. Everything is
// opened and checked before the model is loaded. Throws BadInput; Failure for a value that is not finite.
ExitStatus evaluate(const EvalConfig& config, Runtime& runtime);

}  // namespace spt
