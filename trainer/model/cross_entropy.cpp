#include "trainer/model/cross_entropy.h"

#include <algorithm>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include "trainer/model/kernels/factor.h"
#include "trainer/model/kernels/softmax_loss.h"

namespace spt {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// Logits of a chunk take at most this many elements (fp32: 64 MiB).
constexpr int64_t kChunkElements = int64_t{1} << 24;

int64_t chunk_rows(int64_t weight_rows) {
  return std::max<int64_t>(1, kChunkElements / weight_rows);
}

// Chunks are added up in fp32 before they are rounded.
bool is_gradient_apart(int64_t n, int64_t weight_rows, at::ScalarType grad_dtype) {
  return chunk_rows(weight_rows) < n && grad_dtype != at::kFloat;
}

struct CrossEntropyFunction : Function<CrossEntropyFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& given, const at::Tensor& value,
                            const at::Tensor& labels, Parameter& weight, int64_t begin, int64_t valid,
                            double grad_scale, bool with_gradients, Communicator* tp) {
    const at::Tensor hidden = factor(given), table = factor(value.detach().narrow(0, 0, valid));
    const int64_t n = hidden.size(0);
    const int64_t chunk = chunk_rows(weight.shape[0]);
    at::Tensor total = at::zeros({}, hidden.options().dtype(at::kDouble));
    at::Tensor dhidden;
    if (with_gradients) dhidden = at::empty_like(hidden);
    // One buffer for all chunks: fresh pages cost as much as a pass over them.
    const at::Tensor buffer = at::empty({std::min(chunk, n), valid}, hidden.options());

    const bool is_apart = with_gradients && is_gradient_apart(n, weight.shape[0], weight.grad.scalar_type());
    at::Tensor gradient;
    if (is_apart)
      gradient = at::zeros({valid, hidden.size(1)}, weight.grad.options().dtype(at::kFloat));
    else if (with_gradients)
      gradient = weight.grad.narrow(0, 0, valid);

    for (int64_t first = 0; first < n; first += chunk) {
      const int64_t rows = std::min(chunk, n - first);
      const at::Tensor h = hidden.narrow(0, first, rows);
      const at::Tensor label = labels.narrow(0, first, rows);
      at::Tensor logits = buffer.narrow(0, 0, rows);  // [rows, valid]
      at::mm_out(logits, h, table.t());

      // Of this rank's columns, then of all: exp(x − highest) is exp(x − own) · exp(own − highest).
      const auto [own, sums] = softmax_sums(logits, label, begin);
      const at::Tensor highest = own.clone();
      tp->all_reduce(highest, Reduce::kMax);
      const at::Tensor exponentials = sums[0], label_logits = sums[1];
      exponentials.mul_((own - highest).exp_());
      tp->all_reduce(sums);
      total.add_((exponentials.log() - (label_logits - highest)).sum(at::kDouble));
      if (!with_gradients) continue;

      softmax_gradient(logits, label, begin, highest, exponentials, grad_scale);  // d loss / d logits, in their place
      at::Tensor dh = dhidden.narrow(0, first, rows);
      at::mm_out(dh, logits, table);
      add_product(gradient, logits.t(), h);
    }
    if (is_apart) weight.grad.narrow(0, 0, valid).add_(gradient);
    if (with_gradients) ctx->save_for_backward({dhidden.to(given.scalar_type())});
    return total;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& /*grads: grad_scale, by contract*/) {
    tensor_list none(9);
    none[0] = ctx->get_saved_variables()[0];
    return none;
  }
};

}  // namespace

at::Tensor cross_entropy_sum(const at::Tensor& hidden, const at::Tensor& labels, Parameter& weight, int64_t begin,
                             int64_t valid, double grad_scale, Communicator& tp) {
  // Asked here: inside forward() gradients are always off.
  const bool with_gradients = at::GradMode::is_enabled() && weight.value.requires_grad() && weight.grad.defined();
  return CrossEntropyFunction::apply(hidden, weight.value, labels, weight, begin, valid, grad_scale, with_gradients,
                                     &tp);
}

int64_t cross_entropy_bytes(int64_t n, int64_t weight_rows, int64_t width, at::ScalarType given, at::Device device,
                            at::ScalarType grad_dtype) {
  const bool widens = multiplies_in_fp32(given, device);
  const at::ScalarType dtype = widens ? at::kFloat : given;
  const auto size = static_cast<int64_t>(c10::elementSize(dtype));
  int64_t bytes = size * std::min(chunk_rows(weight_rows), n) * weight_rows;  // logits, then their gradient
  const bool is_apart = is_gradient_apart(n, weight_rows, grad_dtype);
  const int64_t product = added_product_bytes(weight_rows * width, dtype, is_apart ? at::kFloat : grad_dtype, device);
  // On the CPU ATen makes fp32 of the rounded gradient and of the sum.
  const int64_t rounding = is_apart && device.is_cpu() ? 2 * 4 * weight_rows * width : 0;
  if (is_apart) bytes += 4 * weight_rows * width;
  bytes += std::max(product, rounding);
  if (widens) bytes += 4 * (2 * n + weight_rows) * width;  // rows, their gradient and the weight
  return bytes;
}

}  // namespace spt
