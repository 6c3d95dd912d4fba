#include "trainer/step_rows.h"

#include <algorithm>
#include <utility>

namespace spt {

int64_t StepRows::trained_tokens() const {
  int64_t trained = 0;
  for (const Batch& batch : batches) trained += batch.trained_tokens();
  return trained;
}

StepRows load_step_rows(int64_t step, const RunConfig& config, const Dataset& corpus, const SamplerConfig& sampler,
                        int dp_rank, int dp_size) {
  const std::vector<int64_t>& lengths = corpus.lengths();
  const std::vector<int64_t> all = rows_for_step(step, sampler);
  StepRows loaded;
  double squares = 0;
  for (const int64_t row : all) {
    const int64_t length = lengths[static_cast<size_t>(row)];
    loaded.tokens += length;
    squares += static_cast<double>(length) * static_cast<double>(length);
  }
  loaded.mean_length = squares / static_cast<double>(loaded.tokens);
  auto dealt = deal_micro_batches(all, lengths, dp_size, packing_of(config));
  for (const MicroBatches& passes : dealt)
    loaded.most_passes = std::max(loaded.most_passes, static_cast<int64_t>(passes.size()));
  loaded.rows = std::move(dealt[static_cast<size_t>(dp_rank)]);
  for (const auto& rows : loaded.rows) loaded.batches.push_back(corpus.batch(rows));
  return loaded;
}

}  // namespace spt
