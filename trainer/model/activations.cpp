#include "trainer/model/activations.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "trainer/model/attention.h"
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

// What the backward pass of a block takes beside what the forward pass kept of all blocks, and gives back of it on its
// way: the largest at its steps, from the block's output to its input.
class BlockBackward {
 public:
  BlockBackward(const Widths& width, const PassShape& pass, int64_t rows, const CausalLm::Memory& memory,
                at::Device device)
      : width_(width),
        pass_(pass),
        memory_(memory.parameters),
        device_(device),
        widens_(multiplies_in_fp32(memory.parameters.dtype, device)),
        size_(size_of(memory.parameters.dtype)),
        gradient_(size_ * rows * width.hidden),
        gathered_(rows < pass.tokens ? size_ * pass.tokens * width.hidden : 0) {}

  int64_t mlp() const {
    const int64_t mlp = size_ * pass_.tokens * width_.mlp;
    const int64_t down = gathered_ + product(width_.mlp, width_.hidden);
    const int64_t swiglu = 2 * mlp;
    const int64_t gate_up = -mlp + product(width_.hidden, 2 * width_.mlp);  // swiglu's input and output are gone
    return gradient_ + std::max({down, swiglu, gate_up});
  }
  // After the MLP: the gradient past it waits for the norm.
  int64_t mixer() const {
    const int64_t out = gathered_ + product(width_.attention, width_.hidden);
    const int64_t attention = size_ * pass_.tokens * (width_.attention + width_.qkv) + examples();
    const int64_t qkv = -size_ * pass_.tokens * width_.attention + product(width_.hidden, width_.qkv);
    return gradient_ + std::max({out, attention, qkv});
  }

 private:
  // Of x [T, in] · W [in, out], without the output's gradient: the weight's gradient, then the input's, in the
  // product's dtype and in the activations'.
  int64_t product(int64_t in, int64_t out) const {
    const int64_t copy = widens_ ? kFp32 : 0, weight = in * out;
    const int64_t added =
        added_product_bytes(weight, widens_ ? at::kFloat : memory_.dtype, *memory_.grad_dtype, device_);
    return copy * pass_.tokens * out +
           std::max(copy * pass_.tokens * in + added, copy * weight + (copy + size_) * pass_.tokens * in);
  }
  // Gradients of q, k and v by head, and what makes them.
  int64_t examples() const {
    const int64_t kv = (width_.qkv - width_.attention) / 2;
    if (device_.is_cpu()) {
      const int64_t copies = widens_ ? kFp32 * (3 * width_.attention + 2 * kv) : 0;
      // ATen makes one of them twice.
      const int64_t made = (widens_ ? kFp32 : size_) * 4 * width_.attention;
      return pass_.attended_at_once * (copies + made);
    }
    // Without flash attention, which CUDA has for half precision only: scores, probabilities and their gradients.
    if (memory_.dtype == at::kFloat) return 4 * kFp32 * width_.heads * pass_.longest * pass_.longest;
    // Its sum of q's gradient is fp32.
    const int64_t by_head = kv < width_.attention ? 2 * width_.attention : 0;
    return pass_.tokens * (size_ * (width_.attention + 2 * kv + by_head) + kFp32 * (width_.attention + width_.heads));
  }

  const Widths& width_;
  const PassShape& pass_;
  const Parameters::Memory& memory_;
  at::Device device_;
  bool widens_;
  int64_t size_, gradient_, gathered_;
};

}  // namespace

int64_t attended_at_once(std::vector<int64_t> lengths, int threads) {
  const size_t examples =
      takes_one_example_a_thread(static_cast<int64_t>(lengths.size()), threads) ? static_cast<size_t>(threads) : 1;
  std::partial_sort(lengths.begin(), lengths.begin() + static_cast<std::ptrdiff_t>(examples), lengths.end(),
                    std::greater<>());
  return std::accumulate(lengths.begin(), lengths.begin() + static_cast<std::ptrdiff_t>(examples), int64_t{0});
}

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
  const BlockBackward backward(width, pass, rows, memory, device);
  // On the CPU a window is a mask: as attention multiplies, and where it hides.
  const bool has_mask = device.is_cpu() && model.sliding_window && pass.longest > *model.sliding_window;
  const int64_t mask = has_mask ? (size + 1 + (widens ? kFp32 : 0)) * pass.longest * pass.longest : 0;
  const int64_t again = memory.recompute == Recompute::kAttention ? mixer : 0;
  const int64_t outer = memory.recompute == Recompute::kBlock ? input : 0;  // the gradient that the block was given
  bytes.block = std::max(backward.mlp(), backward.mixer() + mask + again + outer - mlp);
  if (memory.recompute == Recompute::kBlock) bytes.block += mixer + mixed + mlp + input;  // with its output

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
