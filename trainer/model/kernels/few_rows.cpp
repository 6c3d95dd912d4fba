#include "trainer/model/kernels/few_rows.h"

#include <algorithm>
#include <cmath>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include "trainer/model/kernels/cuda_attend.h"
#include "trainer/model/kernels/factor.h"
#include "trainer/model/kernels/rows.h"

namespace spt {
namespace {

// From here on the library is as fast.
constexpr int64_t kFewRows = 64;
// Multiplications that are worth another thread.
constexpr int64_t kGrain = 1 << 17;

}  // namespace

at::Tensor mm_by_rows(const at::Tensor& x, const at::Tensor& weight) {
  const int64_t rows = x.size(0), in = x.size(1), columns = weight.size(0);
  if (rows < kWorthWidening && x.scalar_type() == at::kBFloat16) return at::mm(x, weight.t());
  if (rows > kFewRows || !x.is_cpu() || x.scalar_type() != at::kFloat)
    return at::mm(factor(x), factor(weight).t()).to(x.scalar_type());
  const at::Tensor from = x.contiguous();
  at::Tensor out = at::empty({rows, columns}, x.options());
  const float *input = from.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
  float* output = out.mutable_data_ptr<float>();
  at::parallel_for(0, columns, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, rows * in)),
                   [&](int64_t begin, int64_t end) {
                     rows::dots(input, in, rows, w + begin * in, in, end - begin, in, output + begin, columns);
                   });
  return out;
}

bool can_attend_to_caches(const at::Tensor& q) {
  if (q.is_cpu()) return q.scalar_type() == at::kFloat;
  return q.is_cuda() && q.size(2) <= cuda::kWidestHead && q.size(2) % 2 == 0;
}

void attend_to_caches(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const std::vector<CachedSequence>& sequences, const at::Tensor& out) {
  if (q.is_cuda()) return cuda::attend_to_caches(q, k, v, sequences, out);
  const int64_t kv_heads = k.size(1), group = q.size(1) / kv_heads, width = q.size(2);
  const float scale = 1.0f / std::sqrt(static_cast<float>(width));
  const auto head = [](const at::Tensor& x, int64_t row, int64_t index) {
    return x.const_data_ptr<float>() + row * x.stride(0) + index * x.stride(1);
  };
  const auto pairs = static_cast<int64_t>(sequences.size()) * kv_heads;
  at::parallel_for(0, pairs, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> weights;  // [group, seen]
    for (int64_t pair = begin; pair < end; ++pair) {
      const CachedSequence& sequence = sequences[static_cast<size_t>(pair / kv_heads)];
      const int64_t index = pair % kv_heads, seen = sequence.past + 1 - sequence.first;
      const auto place = [&](const at::Tensor& cache, int64_t token) {
        return cache.mutable_data_ptr<float>() + index * cache.stride(0) + token * width;
      };
      std::copy_n(head(k, sequence.row, index), width, place(sequence.keys, sequence.past));
      std::copy_n(head(v, sequence.row, index), width, place(sequence.values, sequence.past));
      weights.resize(static_cast<size_t>(group * seen));
      rows::dots(head(q, sequence.row, index * group), q.stride(1), group, place(sequence.keys, sequence.first), width,
                 seen, width, weights.data(), seen);
      for (int64_t i = 0; i < group; ++i) rows::softmax(weights.data() + i * seen, scale, seen);
      rows::weighted_sums(weights.data(), seen, group, place(sequence.values, sequence.first), width, seen, width,
                          out.mutable_data_ptr<float>() + (sequence.row * kv_heads + index) * group * width, width);
    }
  });
}

}  // namespace spt
