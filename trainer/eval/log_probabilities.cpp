#include "trainer/eval/log_probabilities.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>

#include "trainer/model/kernels/one_thread_each.h"

namespace spt {
namespace {

// Rows of the vocabulary product at once: bounds the memory of the logits.
constexpr int64_t kRows = 512;

// log Σ exp of each row, [N, V] → [N].
at::Tensor normalisers(const at::Tensor& logits) {
  if (!logits.is_cpu()) return logits.logsumexp(1);
  at::Tensor result = at::empty({logits.size(0)}, logits.options());
  one_thread_each(logits.size(0), [&](int64_t i) { result[i].copy_(logits[i].logsumexp(0)); });
  return result;
}

}  // namespace

at::Tensor log_probabilities(CausalLm& model, const at::Tensor& rows, const at::Tensor& targets) {
  at::Tensor result = at::empty({targets.size(0)}, at::kFloat);
  for (int64_t begin = 0; begin < targets.size(0); begin += kRows) {
    const int64_t count = std::min(kRows, targets.size(0) - begin);
    const at::Tensor logits = model.logits(rows.narrow(0, begin, count));
    const at::Tensor wanted = targets.narrow(0, begin, count).to(logits.device()).unsqueeze(1);
    result.narrow(0, begin, count).copy_(logits.gather(1, wanted).squeeze(1) - normalisers(logits));
  }
  return result;
}

}  // namespace spt
