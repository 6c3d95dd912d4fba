#include "trainer/eval/held_out_loss.h"

#include <numeric>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include "data/sampler.h"

namespace spt {

double held_out_loss(CausalLm& model, const Dataset& corpus, Mesh& mesh, int64_t micro_batch_tokens) {
  at::NoGradGuard no_grad;
  std::vector<int64_t> rows(static_cast<size_t>(corpus.size()));
  std::iota(rows.begin(), rows.end(), 0);
  const auto mine = rows_for_rank(rows, corpus.lengths(), mesh.place.dp_rank, mesh.dp->size());
  at::Tensor sums = at::zeros({2}, at::kDouble);  // Σ −log p, trained tokens
  for (const auto& part : micro_batches(mine, corpus.lengths(), micro_batch_tokens, true)) {
    const Batch batch = corpus.batch(part);
    const int64_t trained = batch.labels.ne(-100).sum().item<int64_t>();
    if (trained == 0) continue;
    sums[0] += model.loss_sum(batch).cpu();
    sums[1] += static_cast<double>(trained);
  }
  sums = sums.to(mesh.world.device());
  mesh.dp->all_reduce(sums);
  sums = sums.cpu();
  return sums[0].item<double>() / sums[1].item<double>();
}

}  // namespace spt
