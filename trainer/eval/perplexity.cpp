#include "trainer/eval/perplexity.h"

#include <cmath>
#include <numeric>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"
#include "data/sampler.h"

namespace spt {

namespace {

std::vector<int64_t> my_rows(const Dataset& corpus, const Mesh& mesh) {
  std::vector<int64_t> rows(static_cast<size_t>(corpus.size()));
  std::iota(rows.begin(), rows.end(), 0);
  return rows_for_rank(rows, corpus.lengths(), mesh.place.dp_rank, mesh.dp->size());
}

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

std::vector<ExampleLoss> example_losses(CausalLm& model, const Dataset& corpus, Mesh& mesh) {
  // Every row belongs to one dp rank; the others leave zeros, so the sum is the whole table.
  at::Tensor table = at::zeros({corpus.size(), 2}, at::kDouble);
  for (const int64_t row : my_rows(corpus, mesh)) {
    const auto [nll, trained] = loss_of(model, corpus.batch({&row, 1}));
    table[row][0] = nll;
    table[row][1] = static_cast<double>(trained);
  }
  table = sum_over(*mesh.dp, table);
  std::vector<ExampleLoss> losses;
  const double* values = table.const_data_ptr<double>();
  for (int64_t row = 0; row < corpus.size(); ++row)
    losses.push_back({row, values[2 * row], static_cast<int64_t>(values[2 * row + 1])});
  return losses;
}

double held_out_loss(CausalLm& model, const Dataset& corpus, Mesh& mesh, int64_t micro_batch_tokens) {
  at::Tensor sums = at::zeros({2}, at::kDouble);
  for (const auto& rows : micro_batches(my_rows(corpus, mesh), corpus.lengths(), micro_batch_tokens, true)) {
    const auto [nll, trained] = loss_of(model, corpus.batch(rows));
    sums[0] += nll;
    sums[1] += static_cast<double>(trained);
  }
  sums = sum_over(*mesh.dp, sums);
  return sums[0].item<double>() / sums[1].item<double>();
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
