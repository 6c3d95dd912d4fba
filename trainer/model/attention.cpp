#include "trainer/model/attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include "trainer/model/kernels/elementwise.h"
#include "trainer/model/kernels/factor.h"
#include "trainer/model/kernels/few_rows.h"
#include "trainer/model/kernels/one_thread_each.h"

namespace spt {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

struct Heads {
  at::Tensor q, k, v;  // [T, H, D], [T, K, D], [T, K, D]: views
};

Heads heads_of(const at::Tensor& qkv, const HeadShape& shape) {
  const at::Tensor all = qkv.view({qkv.size(0), shape.heads + 2 * shape.kv_heads, shape.head_dim});
  return {all.narrow(1, 0, shape.heads), all.narrow(1, shape.heads, shape.kv_heads),
          all.narrow(1, shape.heads + shape.kv_heads, shape.kv_heads)};
}

at::Tensor queries_and_keys(const at::Tensor& qkv, const HeadShape& shape) {
  return qkv.view({qkv.size(0), shape.heads + 2 * shape.kv_heads, shape.head_dim})
      .narrow(1, 0, shape.heads + shape.kv_heads);
}

// Additive mask [queries, keys] for queries that are the last of the keys: 0 where seen, -inf elsewhere.
at::Tensor band_mask(int64_t queries, int64_t keys, std::optional<int64_t> window, at::TensorOptions options) {
  const at::Tensor i = at::arange(keys - queries, keys, options.dtype(at::kLong)).unsqueeze(1);
  const at::Tensor j = at::arange(keys, options.dtype(at::kLong)).unsqueeze(0);
  at::Tensor hidden = j > i;
  if (window) hidden.logical_or_(j <= i - *window);
  return at::zeros({queries, keys}, options).masked_fill_(hidden, -INFINITY);
}

// One example as a batch of K groups of H/K heads, [K, H/K, L, D], so that the heads of a group share keys by stride 0.
at::Tensor group_queries(const at::Tensor& q, const HeadShape& shape) {
  return q.view({q.size(0), shape.kv_heads, shape.heads / shape.kv_heads, shape.head_dim}).permute({1, 2, 0, 3});
}
at::Tensor group_cached(const at::Tensor& k, const HeadShape& shape) {  // [K, L, D]
  return k.unsqueeze(1).expand({shape.kv_heads, shape.heads / shape.kv_heads, k.size(1), shape.head_dim});
}
at::Tensor group_keys(const at::Tensor& k, const HeadShape& shape) {  // [L, K, D]
  return group_cached(k.transpose(0, 1), shape);
}

struct Mask {
  bool causal;
  std::optional<at::Tensor> additive;
};
Mask mask_for(int64_t queries, int64_t keys, std::optional<int64_t> window, at::TensorOptions options) {
  if (queries == keys && (!window || keys <= *window)) return {true, std::nullopt};
  if (queries == 1 && (!window || keys <= *window)) return {false, std::nullopt};
  return {false, band_mask(queries, keys, window, options)};
}

// CUDA's flash kernels take half precision only.
bool is_flash_cuda(const at::Tensor& x) {
  return x.is_cuda() && (x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf);
}

struct ExampleOutput {
  at::Tensor out;        // [K, H/K, L, D]
  at::Tensor logsumexp;  // [K, H/K, L]
};

std::optional<at::Tensor> additive_of(const Mask& mask, const at::Tensor& q) {
  return mask.additive ? std::optional(mask.additive->to(q.scalar_type())) : std::nullopt;
}

// One example on the CPU, or on CUDA by products and a softmax in fp32 (right, not fast).
ExampleOutput attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Mask& mask) {
  if (!q.is_cuda()) {
    auto [out, logsumexp] =
        at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, mask.causal, additive_of(mask, q));
    return {out, logsumexp};
  }
  const auto wide = [](const at::Tensor& x) { return x.to(at::kFloat); };
  at::Tensor scores = at::matmul(wide(q), wide(k).transpose(-1, -2)).div_(std::sqrt(static_cast<double>(q.size(-1))));
  if (mask.additive)
    scores.add_(*mask.additive);
  else if (mask.causal)
    scores.add_(band_mask(q.size(-2), k.size(-2), std::nullopt, scores.options()));
  at::Tensor logsumexp = scores.logsumexp(-1);
  return {at::matmul(scores.sub_(logsumexp.unsqueeze(-1)).exp_(), wide(v)).to(q.scalar_type()), logsumexp};
}

// f(i) for each example: each by all threads, or, where there are enough of them or bits must not hang on the number of
// threads, each by one, the longest first.
template <class F>
void for_examples(const std::vector<int64_t>& starts, bool one_thread, const F& f) {
  const auto examples = static_cast<int64_t>(starts.size()) - 1;
  std::vector<int64_t> order(static_cast<size_t>(examples));
  std::iota(order.begin(), order.end(), 0);
  if (!one_thread) {
    for (const int64_t i : order) f(i);
    return;
  }
  const auto length = [&](int64_t i) { return starts[static_cast<size_t>(i) + 1] - starts[static_cast<size_t>(i)]; };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return length(a) > length(b); });
  one_thread_each(examples, [&](int64_t k) { f(order[static_cast<size_t>(k)]); });
}

bool one_thread_each_of(int64_t examples, at::Device device) {
  return device.is_cpu() && takes_one_example_a_thread(examples, at::get_num_threads());
}

struct ExampleGradient {
  at::Tensor q, k, v;  // [K, H/K, L, D]
};
ExampleGradient attend_backward(const at::Tensor& g, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const at::Tensor& out, const at::Tensor& logsumexp, const Mask& mask) {
  if (!q.is_cuda()) {
    auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(g, q, k, v, out, logsumexp, 0.0,
                                                                                 mask.causal, additive_of(mask, q));
    return {dq, dk, dv};
  }
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(-1)));
  at::Tensor scores = at::matmul(q, k.transpose(-1, -2)).mul_(scale);
  if (mask.additive)
    scores.add_(*mask.additive);
  else if (mask.causal)
    scores.add_(band_mask(q.size(-2), k.size(-2), std::nullopt, q.options()));
  const at::Tensor p = scores.sub_(logsumexp.unsqueeze(-1)).exp_();
  const at::Tensor dv = at::matmul(p.transpose(-1, -2), g);
  const at::Tensor dp = at::matmul(g, v.transpose(-1, -2));
  const at::Tensor ds = p.mul(dp.sub_((g * out).sum(-1, true))).mul_(scale);
  return {at::matmul(ds, k), at::matmul(ds.transpose(-1, -2), q), dv};
}

struct AttentionFunction : Function<AttentionFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& qkv, const Layout* layout, const HeadShape* shape) {
    rotate(queries_and_keys(qkv, *shape), layout->angles.cos, layout->angles.sin, false);
    const Heads h = heads_of(qkv, *shape);
    at::Tensor out;
    std::vector<at::Tensor> saved{qkv};
    if (is_flash_cuda(qkv)) {
      const RaggedOutput output =
          ragged_attention(layout->way, {h.q, h.k, h.v, layout->device_starts, layout->longest, shape->window});
      out = output.out;
      saved.insert(saved.end(), {out, output.logsumexp, output.seed, output.offset});
    } else {
      out = at::empty({qkv.size(0), shape->heads, shape->head_dim}, qkv.options());
      saved.push_back(out);
      std::vector<at::Tensor> logsumexp(static_cast<size_t>(layout->examples()));
      for_examples(layout->starts, one_thread_each_of(layout->examples(), qkv.device()), [&](int64_t i) {
        const int64_t start = layout->starts[static_cast<size_t>(i)], length = layout->length(i);
        const auto part = [&](const at::Tensor& x) { return x.narrow(0, start, length); };
        const ExampleOutput one =
            attend(group_queries(factor(part(h.q)), *shape), group_keys(factor(part(h.k)), *shape),
                   group_keys(factor(part(h.v)), *shape), mask_for(length, length, shape->window, qkv.options()));
        group_queries(part(out), *shape).copy_(one.out);
        logsumexp[static_cast<size_t>(i)] = one.logsumexp;
      });
      saved.insert(saved.end(), logsumexp.begin(), logsumexp.end());
    }
    // The layout is shared by all layers of a pass; its parts are kept, not the pointer, since it ends with the pass.
    ctx->saved_data["starts"] = layout->starts;
    ctx->saved_data["shape"] = std::vector<int64_t>{shape->heads,    shape->kv_heads,
                                                    shape->head_dim, shape->window.value_or(0),
                                                    layout->longest, static_cast<int64_t>(layout->way)};
    saved.insert(saved.end(), {layout->angles.cos, layout->angles.sin, layout->device_starts});
    ctx->save_for_backward(saved);
    return out.view({qkv.size(0), shape->heads * shape->head_dim});
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const std::vector<int64_t> starts = ctx->saved_data["starts"].toIntVector();
    const std::vector<int64_t> numbers = ctx->saved_data["shape"].toIntVector();
    const HeadShape shape{numbers[0], numbers[1], numbers[2],
                          numbers[3] > 0 ? std::optional(numbers[3]) : std::nullopt};
    const int64_t longest = numbers[4];
    const at::Tensor& qkv = saved[0];
    const at::Tensor& out = saved[1];
    const at::Tensor g = grads[0].contiguous().view(out.sizes());
    const Rotary::Angles angles{saved[saved.size() - 3], saved[saved.size() - 2]};
    const Heads h = heads_of(qkv, shape);
    at::Tensor dqkv = at::empty_like(qkv);
    Heads d = heads_of(dqkv, shape);
    if (is_flash_cuda(qkv)) {
      const RaggedGradient one = ragged_attention_backward(static_cast<AttentionWay>(numbers[5]), g,
                                                           {h.q, h.k, h.v, saved.back(), longest, shape.window},
                                                           {out, saved[2], saved[3], saved[4]});
      d.q.copy_(one.q);
      d.k.copy_(one.k);
      d.v.copy_(one.v);
    } else {
      const auto examples = static_cast<int64_t>(starts.size()) - 1;
      for_examples(starts, one_thread_each_of(examples, qkv.device()), [&](int64_t example) {
        const auto i = static_cast<size_t>(example);
        const int64_t length = starts[i + 1] - starts[i];
        const auto part = [&](const at::Tensor& x) { return x.narrow(0, starts[i], length); };
        const auto of = [&](const at::Tensor& x) { return factor(part(x)); };
        const ExampleGradient one =
            attend_backward(group_queries(of(g), shape), group_queries(of(h.q), shape), group_keys(of(h.k), shape),
                            group_keys(of(h.v), shape), group_queries(of(out), shape), saved[2 + i],
                            mask_for(length, length, shape.window, qkv.options()));
        group_queries(part(d.q), shape).copy_(one.q);
        // Heads of a group share their key: [K, H/K, L, D] → [L, K, D]
        part(d.k).copy_(one.k.sum(1).permute({1, 0, 2}));
        part(d.v).copy_(one.v.sum(1).permute({1, 0, 2}));
      });
    }
    rotate(queries_and_keys(dqkv, shape), angles.cos, angles.sin, true);
    return {dqkv, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

KvCache::KvCache(int64_t layers, const HeadShape& shape, at::TensorOptions options) {
  const at::Tensor none = at::empty({shape.kv_heads, 0, shape.head_dim}, options);
  keys_.assign(static_cast<size_t>(layers), none);
  values_.assign(static_cast<size_t>(layers), none);
}

void KvCache::reserve(int64_t tokens) {
  if (tokens <= capacity_) return;
  constexpr int64_t kBlock = 64;
  capacity_ = (std::max(tokens, capacity_ + capacity_ / 2) + kBlock - 1) / kBlock * kBlock;
  const auto grow = [&](at::Tensor& old) {
    at::Tensor grown = at::empty({old.size(0), capacity_, old.size(2)}, old.options());
    grown.narrow(1, 0, length).copy_(old.narrow(1, 0, length));
    old = grown;
  };
  for (at::Tensor& keys : keys_) grow(keys);
  for (at::Tensor& values : values_) grow(values);
}

void KvCache::copy_from(KvCache& other, int64_t tokens) {
  reserve(tokens);
  length = tokens;
  for (size_t layer = 0; layer < keys_.size(); ++layer) {
    keys_[layer].narrow(1, 0, tokens).copy_(other.keys_[layer].narrow(1, 0, tokens));
    values_[layer].narrow(1, 0, tokens).copy_(other.values_[layer].narrow(1, 0, tokens));
  }
}

std::vector<int64_t> Branches::positions(int64_t past) const {
  std::vector<int64_t> all(static_cast<size_t>(prefix));
  std::iota(all.begin(), all.end(), past);
  for (const int64_t length : lengths)
    for (int64_t i = 0; i < length; ++i) all.push_back(past + prefix + i);
  return all;
}

at::Tensor Branches::mask(int64_t past, std::optional<int64_t> window, at::TensorOptions options) const {
  // Of each key: the branch that it is on, -1 where all see it.
  std::vector<int64_t> branch(static_cast<size_t>(past + prefix), -1), position(static_cast<size_t>(past));
  for (size_t i = 0; i < lengths.size(); ++i)
    branch.insert(branch.end(), static_cast<size_t>(lengths[i]), static_cast<int64_t>(i));
  std::iota(position.begin(), position.end(), 0);
  const std::vector<int64_t> own = positions(past);
  position.insert(position.end(), own.begin(), own.end());
  const auto on_device = [&](const std::vector<int64_t>& x) { return at::tensor(x, at::kLong).to(options.device()); };
  // [L, 1] for queries, which are the last of the keys, and [1, past + L] for keys.
  const auto pairs = [&](const at::Tensor& x) {
    return std::pair(x.narrow(0, past, x.size(0) - past).unsqueeze(1), x.unsqueeze(0));
  };
  const auto [query, key] = pairs(at::arange(static_cast<int64_t>(branch.size()), options.dtype(at::kLong)));
  const auto [query_branch, key_branch] = pairs(on_device(branch));
  at::Tensor seen = (key <= query).logical_and_((key_branch == query_branch).logical_or_(key_branch == -1));
  if (window) {
    const auto [query_position, key_position] = pairs(on_device(position));
    seen.logical_and_(query_position - key_position < *window);
  }
  return at::zeros(seen.sizes(), options).masked_fill_(seen.logical_not(), -INFINITY);
}

bool takes_one_example_a_thread(int64_t examples, int threads) {
  return examples >= 2 * threads;
}

at::Tensor attention(const at::Tensor& qkv, const Layout& layout, const HeadShape& shape) {
  return AttentionFunction::apply(qkv, &layout, &shape);
}

at::Tensor cached_attention(const at::Tensor& qkv, const Layout& layout, const HeadShape& shape,
                            std::span<KvCache* const> caches, int64_t layer) {
  rotate(queries_and_keys(qkv, shape), layout.angles.cos, layout.angles.sin, false);
  const Heads h = heads_of(qkv, shape);
  at::Tensor out = at::empty({qkv.size(0), shape.heads, shape.head_dim}, qkv.options());
  const bool has_kernel = can_attend_to_caches(h.q);
  // A single query needs no keys beyond its window.
  const auto first_seen = [&](int64_t i) {
    const int64_t seen = layout.past[static_cast<size_t>(i)] + layout.length(i);
    return layout.length(i) == 1 && shape.window ? std::max<int64_t>(0, seen - *shape.window) : 0;
  };
  std::vector<CachedSequence> one_token;
  for (int64_t i = 0; i < layout.examples() && has_kernel; ++i) {
    KvCache& cache = *caches[static_cast<size_t>(i)];
    if (layout.length(i) == 1)
      one_token.push_back({layout.starts[static_cast<size_t>(i)], cache.keys(layer), cache.values(layer), first_seen(i),
                           layout.past[static_cast<size_t>(i)]});
  }
  attend_to_caches(h.q, h.k, h.v, one_token, out);
  for_examples(layout.starts, layout.one_thread_each, [&](int64_t i) {
    const int64_t start = layout.starts[static_cast<size_t>(i)], length = layout.length(i);
    if (length == 1 && has_kernel) return;
    const int64_t past = layout.past[static_cast<size_t>(i)], seen = past + length, first = first_seen(i);
    const at::Tensor& keys = caches[static_cast<size_t>(i)]->keys(layer);
    const at::Tensor& values = caches[static_cast<size_t>(i)]->values(layer);
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, start, length); };
    keys.narrow(1, past, length).copy_(part(h.k).transpose(0, 1));
    values.narrow(1, past, length).copy_(part(h.v).transpose(0, 1));
    const auto of = [&](const at::Tensor& x) { return length < kWorthWidening ? x : factor(x); };
    const at::Tensor k = of(keys.narrow(1, first, seen - first)), v = of(values.narrow(1, first, seen - first));
    const ExampleOutput one =
        attend(group_queries(of(part(h.q)), shape), group_cached(k, shape), group_cached(v, shape),
               mask_for(length, seen - first, shape.window, qkv.options()));
    group_queries(part(out), shape).copy_(one.out);
  });
  return out.view({qkv.size(0), shape.heads * shape.head_dim});
}

at::Tensor branched_attention(const at::Tensor& qkv, const Layout& layout, const HeadShape& shape, int64_t layer) {
  rotate(queries_and_keys(qkv, shape), layout.angles.cos, layout.angles.sin, false);
  const Heads h = heads_of(qkv, shape);
  at::Tensor out = at::empty({qkv.size(0), shape.heads, shape.head_dim}, qkv.options());
  const auto behind_shared = [&](const at::Tensor& cached, const at::Tensor& own) {
    return at::cat({cached.narrow(1, 0, layout.shared->length), own.transpose(0, 1)}, 1);
  };
  for_examples(layout.starts, layout.one_thread_each, [&](int64_t i) {
    const int64_t start = layout.starts[static_cast<size_t>(i)], length = layout.length(i);
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, start, length); };
    const at::Tensor k =
        layout.shared ? behind_shared(layout.shared->keys(layer), part(h.k)) : part(h.k).transpose(0, 1);
    const at::Tensor v =
        layout.shared ? behind_shared(layout.shared->values(layer), part(h.v)) : part(h.v).transpose(0, 1);
    const ExampleOutput one = attend(group_queries(factor(part(h.q)), shape), group_cached(factor(k), shape),
                                     group_cached(factor(v), shape), {false, layout.masks[static_cast<size_t>(i)]});
    group_queries(part(out), shape).copy_(one.out);
  });
  return out.view({qkv.size(0), shape.heads * shape.head_dim});
}

}  // namespace spt
