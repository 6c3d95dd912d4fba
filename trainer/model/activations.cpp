#include "trainer/model/activations.h"

#include <algorithm>

#include "trainer/model/cross_entropy.h"
#include "trainer/model/kernels/factor.h"

namespace spt {
namespace {

constexpr int64_t kFp32 = 4;  // bytes

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

// The largest of what the MLP's backward pass holds beside what the forward pass kept, at its three steps.
int64_t mlp_backward_bytes(const Widths& width, int64_t tokens, int64_t rows, bool widens,
                           const Parameters::Memory& memory, at::Device device) {
  const int64_t size = size_of(memory.dtype), product = widens ? kFp32 : size, copy = widens ? kFp32 : 0;
  const int64_t hidden = tokens * width.hidden, mlp = tokens * width.mlp, weight = width.hidden * width.mlp;
  const int64_t from_outside = size * rows * width.hidden;
  const int64_t gathered = rows < tokens ? size * hidden : 0;
  const auto added = [&](int64_t elements) {
    return added_product_bytes(elements, widens ? at::kFloat : memory.dtype, *memory.grad_dtype, device);
  };
  // A product's input gradient, in its own dtype and in the activations'.
  const auto made = [&](int64_t elements) { return product * elements + (widens ? size * elements : 0); };
  const int64_t down =
      from_outside + gathered + copy * hidden + std::max(copy * mlp + added(weight), copy * weight + made(mlp));
  const int64_t gate = from_outside + size * 2 * mlp;
  // swiglu's output and input are gone.
  const int64_t gate_up = from_outside - size * mlp + copy * 2 * mlp +
                          std::max(copy * hidden + added(2 * weight), copy * 2 * weight + made(hidden));
  return std::max({down, gate, gate_up});
}

}  // namespace

ActivationBytes activation_bytes(const ModelConfig& model, int tp, at::Device device, const CausalLm::Memory& memory,
                                 const PassShape& pass) {
  const Widths width(model, tp);
  const at::ScalarType dtype = memory.parameters.dtype;
  const int64_t size = size_of(dtype), tokens = pass.tokens;
  const bool is_cut = memory.sequence_parallel && tp > 1;
  const int64_t rows = is_cut ? (tokens + tp - 1) / tp : tokens;
  // As trainer/model/causal_lm.cpp goes: a norm keeps its input and a number a row, a product its input, attention q,
  // k, v, its output and a number a head, swiglu its input.
  const int64_t input = size * rows * width.hidden;
  const int64_t mixer = kFp32 * rows + size * tokens * (width.hidden + width.qkv) + kFp32 * tokens * width.heads;
  const int64_t mixed = size * tokens * width.attention;
  const int64_t mlp = input + kFp32 * rows + size * tokens * (width.hidden + 3 * width.mlp);

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
  const bool widens = multiplies_in_fp32(dtype, device);
  bytes.block = mlp_backward_bytes(width, tokens, rows, widens, memory.parameters, device);
  if (memory.recompute == Recompute::kBlock) bytes.block += mixer + mixed + mlp + input;  // with its output
  // Without flash attention, which CUDA has for half precision only: scores, probabilities and their gradients.
  if (device.is_cuda() && dtype == at::kFloat) bytes.block += 4 * kFp32 * width.heads * pass.longest * pass.longest;
  // On the CPU a window is a mask: as attention multiplies, and where it hides.
  if (device.is_cpu() && model.sliding_window && pass.longest > *model.sliding_window)
    bytes.block += (size + 1 + (widens ? kFp32 : 0)) * pass.longest * pass.longest;

  // The final norm's input, what it makes of it, and the gradient of that.
  const int64_t asked = size * pass.trained * width.hidden;
  const int64_t vocab_rows = (model.vocab_size + tp - 1) / tp;
  bytes.loss =
      (is_cut ? input : asked) + 2 * asked +
      cross_entropy_bytes(pass.trained, vocab_rows, width.hidden, dtype, device, *memory.parameters.grad_dtype);
  return bytes;
}

double attention_pairs(const ModelConfig& model, at::ScalarType dtype, at::Device device, int64_t length) {
  const auto tokens = static_cast<double>(length);
  if (device.is_cuda() && dtype == at::kFloat) return 2 * tokens * tokens;
  if (!model.sliding_window || length <= *model.sliding_window) return tokens * tokens;
  if (device.is_cpu()) return 2 * tokens * tokens;
  const auto window = static_cast<double>(*model.sliding_window);
  return window * (2 * tokens - window);
}

PassFlops pass_flops(const ModelConfig& model, int tp, Recompute recompute, const PassShape& pass, double pairs) {
  const Widths width(model, tp);
  const auto hidden = static_cast<double>(width.hidden), tokens = static_cast<double>(pass.tokens);
  const double mixer = 2 * tokens * hidden * static_cast<double>(width.qkv);
  const double attention = 2 * pairs * static_cast<double>(width.attention);  // q·kᵀ and p·v
  const double rest = 2 * tokens * hidden * static_cast<double>(width.attention + 3 * width.mlp);
  // A product's backward pass is two; that of attention also makes q·kᵀ again.
  double backward = 2 * mixer + 2.5 * attention + 2 * rest;
  if (recompute != Recompute::kNone) backward += mixer + attention;
  if (recompute == Recompute::kBlock) backward += rest;
  const auto vocab_rows = static_cast<double>((model.vocab_size + tp - 1) / tp);
  const auto layers = static_cast<double>(model.layers);
  return {layers * (mixer + attention + rest), layers * backward,
          6 * static_cast<double>(pass.trained) * hidden * vocab_rows};
}

}  // namespace spt
