// Mean −log p over the trained tokens of a held-out corpus.
#pragma once

#include "data/dataset.h"
#include "dist/mesh.h"
#include "trainer/model/causal_lm.h"

namespace spt {

// Collective; rows are dealt over dp. The same value on every rank.
double held_out_loss(CausalLm& model, const Dataset& corpus, Mesh& mesh, int64_t micro_batch_tokens);

}  // namespace spt
