#include "trainer/model/kernels/softmax_loss.h"

#include <vector>

#include <ATen/Functions.h>

#include "trainer/model/kernels/cuda_elementwise.h"
#include "trainer/model/kernels/row_loops.h"
#include "trainer/model/kernels/rows.h"

namespace spt {
namespace {

bool are_logits(const at::Tensor& logits, const at::Tensor& labels) {
  return logits.is_contiguous() && labels.is_contiguous() && labels.scalar_type() == at::kLong &&
         labels.numel() == logits.size(0);
}

}  // namespace

SoftmaxSums softmax_sums(const at::Tensor& logits, const at::Tensor& labels, int64_t begin) {
  TORCH_INTERNAL_ASSERT(are_logits(logits, labels));
  if (logits.is_cuda()) return cuda::softmax_sums(logits, labels, begin);
  const int64_t rows = logits.size(0), n = logits.size(1);
  const at::TensorOptions fp32 = logits.options().dtype(at::kFloat);
  SoftmaxSums result{at::empty({rows}, fp32), at::empty({2, rows}, fp32)};
  float *highest = result.highest.mutable_data_ptr<float>(), *sums = result.sums.mutable_data_ptr<float>();
  const int64_t* label = labels.const_data_ptr<int64_t>();
  rows::dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    const T* from = logits.const_data_ptr<T>();
    rows::for_rows(rows, n, [&](int64_t first, int64_t end) {
      std::vector<float> a;
      for (int64_t i = first; i < end; ++i) {
        const float* row = rows::load(from + i * n, a, n);
        const int64_t column = label[i] - begin;
        highest[i] = rows::highest(row, n);
        sums[i] = rows::sum_of_exponentials(row, highest[i], n);
        sums[rows + i] = column >= 0 && column < n ? row[column] : 0.0f;
      }
    });
  });
  return result;
}

void softmax_gradient(at::Tensor logits, const at::Tensor& labels, int64_t begin, const at::Tensor& highest,
                      const at::Tensor& sum, double scale) {
  TORCH_INTERNAL_ASSERT(are_logits(logits, labels) && highest.is_contiguous() && sum.is_contiguous());
  if (logits.is_cuda()) return cuda::softmax_gradient(logits, labels, begin, highest, sum, scale);
  const int64_t n = logits.size(1);
  const float *top = highest.const_data_ptr<float>(), *sums = sum.const_data_ptr<float>();
  const int64_t* label = labels.const_data_ptr<int64_t>();
  const auto factor = static_cast<float>(scale);
  rows::dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    T* data = logits.mutable_data_ptr<T>();
    rows::for_rows(logits.size(0), n, [&](int64_t first, int64_t end) {
      std::vector<float> a;
      for (int64_t i = first; i < end; ++i) {
        float* row = rows::load_to_change(data + i * n, a, n);
        const int64_t column = label[i] - begin;
        rows::exponentials(row, top[i], factor / sums[i], n);
        if (column >= 0 && column < n) row[column] -= factor;
        rows::store(data + i * n, a, n);
      }
    });
  });
}

}  // namespace spt
