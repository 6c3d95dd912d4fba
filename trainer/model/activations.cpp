#include "trainer/model/activations.h"

#include <algorithm>

#include "trainer/model/cross_entropy.h"
#include "trainer/model/kernels/factor.h"

namespace spt {
namespace {

// Elements a token, on one rank of tp.
struct Widths {
  Widths(const ModelConfig& model, int tp)
      : hidden(model.hidden_size),
        attention(model.heads * model.head_dim / tp),
        qkv((model.heads + 2 * model.kv_heads) * model.head_dim / tp),
        mlp(model.intermediate_size / tp),
        heads(model.heads / tp) {}
  int64_t hidden, attention, qkv, mlp, heads;
};

int64_t size_of(at::ScalarType dtype) {
  return static_cast<int64_t>(c10::elementSize(dtype));
}

}  // namespace

ActivationBytes activation_bytes(const ModelConfig& model, int tp, at::Device device, const CausalLm::Memory& memory,
                                 const PassShape& pass) {
  const Widths width(model, tp);
  const int64_t size = size_of(memory.parameters.dtype), fp32 = 4;
  const bool is_cut = memory.sequence_parallel && tp > 1;
  const int64_t tokens = pass.tokens, rows = is_cut ? (tokens + tp - 1) / tp : tokens;
  // As trainer/model/causal_lm.cpp goes: a norm keeps its input and a number a row, a product its input, attention q,
  // k, v, its output and a number a head, swiglu its input.
  const int64_t input = size * rows * width.hidden;
  const int64_t mixer = fp32 * rows + size * tokens * (width.hidden + width.qkv) + fp32 * tokens * width.heads;
  const int64_t mixed = size * tokens * width.attention;
  const int64_t mlp = input + fp32 * rows + size * tokens * (width.hidden + 3 * width.mlp);

  ActivationBytes bytes;
  switch (memory.recompute) {
    case Recompute::kNone:
      bytes.kept = model.layers * (input + mixer + mixed + mlp);
      break;
    case Recompute::kAttention:
      bytes.kept = model.layers * (input + mixed + mlp);
      break;
    case Recompute::kBlock:
      bytes.kept = model.layers * input;
      break;
  }
  // Gradients under way are widest behind the MLP's gate: of the block's output, of swiglu's input. Where a weight's
  // gradient has another dtype, its product stands in memory of its own before it is added.
  const bool widens = multiplies_in_fp32(memory.parameters.dtype, device);
  const at::ScalarType product = widens ? at::kFloat : memory.parameters.dtype;
  const bool adds_in_place = memory.parameters.grad_dtype == product;
  int64_t of_weights = adds_in_place ? 0 : size_of(product) * 2 * width.mlp * width.hidden;
  // The output's gradient, then the weight or the input, and the input's gradient.
  if (widens)
    of_weights += fp32 * (tokens * (2 * width.mlp + width.hidden) +
                          std::max(2 * width.mlp * width.hidden, tokens * width.hidden));
  const int64_t gathered = tp > 1 ? size * tokens * width.hidden : 0;
  bytes.block = size * tokens * (width.hidden + 2 * width.mlp) + of_weights + gathered;
  if (memory.recompute == Recompute::kBlock) bytes.block += mixer + mixed + mlp + input;

  const int64_t asked = size * pass.trained * width.hidden;
  const int64_t vocab_rows = (model.vocab_size + tp - 1) / tp;
  // The final norm's input, what it makes of it, and the gradient of that.
  bytes.loss = (is_cut ? input : asked) + 2 * asked +
               cross_entropy_bytes(pass.trained, vocab_rows, width.hidden, memory.parameters.dtype, device,
                                   *memory.parameters.grad_dtype);
  return bytes;
}

double pass_flops(const ModelConfig& model, int tp, Recompute recompute, const PassShape& pass, double pairs) {
  const Widths width(model, tp);
  const auto hidden = static_cast<double>(width.hidden), tokens = static_cast<double>(pass.tokens);
  const double mixer = 2 * tokens * hidden * static_cast<double>(width.qkv);
  const double attention = 2 * pairs * static_cast<double>(width.attention);  // q·kᵀ and p·v over half of the pairs
  const double rest = 2 * tokens * hidden * static_cast<double>(width.attention + 3 * width.mlp);
  // A product's backward pass is two; that of attention also makes q·kᵀ again.
  double block = 3 * mixer + 3.5 * attention + 3 * rest;
  if (recompute != Recompute::kNone) block += mixer + attention;
  if (recompute == Recompute::kBlock) block += rest;
  const auto vocab_rows = static_cast<double>((model.vocab_size + tp - 1) / tp);
  return static_cast<double>(model.layers) * block + 6 * static_cast<double>(pass.trained) * hidden * vocab_rows;
}

}  // namespace spt
