#include "trainer/deterministic.h"

#include <chrono>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include "base/log.h"

namespace spt {
namespace {

double seconds_of(CausalLm& model, const at::Tensor& ids, const at::Tensor& starts) {
  const auto begin = std::chrono::steady_clock::now();
  model.logits(model.hidden(ids, starts)).sum().item<double>();  // waits for a GPU
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// How many times as long it takes in fixed tiles; the first try of each warms up.
double cost(CausalLm& model, const at::Tensor& ids, const at::Tensor& starts) {
  double seconds[2] = {};
  for (int i = 0; i < 2; ++i)
    for (const bool fixed : {false, true}) {
      model.set_batch_invariant(fixed);
      seconds[fixed] = seconds_of(model, ids, starts);
    }
  return seconds[1] / seconds[0];
}

}  // namespace

void make_deterministic(CausalLm& model) {
  const at::NoGradGuard no_grad;
  constexpr int64_t kText = 128, kSingle = 20;
  const double text = cost(model, at::zeros({kText}, at::kLong), at::arange(2, at::kInt).mul(kText));
  const double single = cost(model, at::zeros({kSingle}, at::kLong), at::arange(kSingle + 1, at::kInt));
  spdlog::info("eval.deterministic: a text of {} tokens takes {:.2f} x as long, {} single tokens {:.2f} x", kText, text,
               kSingle, single);
}

}  // namespace spt
