// `kind: perplexity`: how well a model predicts the trained tokens of a corpus.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "dist/mesh.h"
#include "trainer/model/causal_lm.h"

namespace spt {

struct ExampleLoss {
  int64_t row = 0;             // of the corpus
  double nll = 0;              // Σ −log p over its trained tokens, natural logarithm
  int64_t trained_tokens = 0;  // 0: nothing to predict is left of it
};

struct Perplexity {
  double value = 0;           // exp(Σ nll / Σ trained_tokens)
  double standard_error = 0;  // of `value` over examples: the ratio estimator's, carried through exp (delta method)
  int64_t examples = 0;
};

// One forward pass, so that a result does not depend on what stood beside it. The same on all tp ranks.
ExampleLoss example_loss(CausalLm& model, const Dataset& corpus, int64_t row);

// Collective: Σ nll / Σ trained_tokens alone, in packed micro-batches: what training measures between steps. The same
// value on every rank, and for any dp. `stops` is asked before each micro-batch, by all tp ranks with one answer: where
// a rank stops there is no value.
std::optional<double> held_out_loss(CausalLm& model, const Dataset& corpus, Mesh& mesh, int64_t micro_batch_tokens,
                                    const std::function<bool()>& stops);

// Throws BadInput when no example has a trained token.
Perplexity perplexity(const std::vector<ExampleLoss>& losses);

}  // namespace spt
