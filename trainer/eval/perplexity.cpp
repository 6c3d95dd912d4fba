#include "trainer/eval/perplexity.h"

#include <cmath>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include "base/error.h"
#include "data/sampler.h"
#include "dist/exact_sum.h"
#include "trainer/eval/log_probabilities.h"

namespace spt {

namespace {

// Σ −log p and its number of trained tokens.
std::pair<double, int64_t> loss_of(CausalLm& model, const Batch& batch) {
  at::NoGradGuard no_grad;
  const int64_t trained = batch.trained_tokens();
  return {trained == 0 ? 0.0 : model.loss_sum(batch).item<double>(), trained};
}

// The sum over dp of a table that lies on the host.
at::Tensor sum_over(Communicator& dp, const at::Tensor& table) {
  at::Tensor sum = table.to(dp.device());
  dp.all_reduce(sum);
  return sum.cpu();
}

}  // namespace

ExampleLoss example_loss(CausalLm& model, const Dataset& corpus, int64_t row) {
  at::NoGradGuard no_grad;
  const Batch batch = corpus.batch({&row, 1});
  const at::Tensor trained = batch.labels.ne(kNotTrained).nonzero().squeeze(1);
  if (trained.numel() == 0) return {row};
  const at::Tensor hidden = model.hidden(batch.ids, batch.starts);
  const at::Tensor logp = log_probabilities(model, hidden.index_select(0, trained.to(hidden.device())),
                                            batch.labels.index_select(0, trained));
  return {row, -logp.sum(at::kDouble).item<double>(), trained.numel()};
}

std::optional<double> held_out_loss(CausalLm& model, const Dataset& corpus, Mesh& mesh, int64_t micro_batch_tokens,
                                    const std::function<bool()>& stops) {
  std::vector<int64_t> all(static_cast<size_t>(corpus.size()));
  std::iota(all.begin(), all.end(), 0);
  const auto dealt = deal_micro_batches(all, corpus.lengths(), mesh.dp->size(), {micro_batch_tokens, true, true});
  ExactSum nll;
  int64_t trained = 0, stopped = 0;
  for (const auto& rows : dealt[static_cast<size_t>(mesh.place.dp_rank)]) {
    if (stops()) {
      stopped = 1;
      break;
    }
    const auto [of_rows, tokens] = loss_of(model, corpus.batch(rows));
    nll.add(of_rows);
    trained += tokens;
  }
  const at::Tensor limbs = sum_over(*mesh.dp, nll.limbs());
  const at::Tensor counts = sum_over(*mesh.dp, at::tensor({trained, stopped}, at::kLong));
  if (counts[1].item<int64_t>() > 0) return std::nullopt;
  return ExactSum::of(limbs) / static_cast<double>(counts[0].item<int64_t>());
}

Perplexity perplexity(const std::vector<ExampleLoss>& losses) {
  double nll = 0, tokens = 0, squares = 0;
  int64_t examples = 0;
  for (const ExampleLoss& loss : losses) {
    nll += loss.nll;
    tokens += static_cast<double>(loss.trained_tokens);
    examples += loss.trained_tokens > 0;
  }
  if (examples == 0) throw BadInput("no example has a trained token: there is nothing to predict");
  const double mean = nll / tokens;
  for (const ExampleLoss& loss : losses) {
    const double residual = loss.nll - mean * static_cast<double>(loss.trained_tokens);
    squares += residual * residual;
  }
  const auto n = static_cast<double>(examples);
  const double error = n > 1 ? std::sqrt(squares * n / (n - 1)) / tokens : 0;
  return {std::exp(mean), std::exp(mean) * error, examples};
}

}  // namespace spt
