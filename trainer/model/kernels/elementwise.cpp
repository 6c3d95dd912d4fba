#include "trainer/model/kernels/elementwise.h"

#include <vector>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include "trainer/model/kernels/cuda_elementwise.h"
#include "trainer/model/kernels/row_loops.h"
#include "trainer/model/kernels/rows.h"

namespace spt {
namespace {

// With `delta` the norm is that of x + delta, which is written to `sum`.
Normed norm_rows(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps,
                 const at::Tensor& sum) {
  const int64_t rows = x.size(0), n = x.size(1);
  const at::Tensor in = x.contiguous(), w = weight.to(at::kFloat);
  const at::Tensor added = delta.defined() ? delta.contiguous() : delta;
  Normed result{at::empty_like(in), at::empty({rows, 1}, x.options().dtype(at::kFloat))};
  rows::dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const T *from = in.const_data_ptr<T>(), *more = added.defined() ? added.const_data_ptr<T>() : nullptr;
    T *to = result.out.mutable_data_ptr<T>(), *sums = added.defined() ? sum.mutable_data_ptr<T>() : nullptr;
    float* rstd = result.rstd.mutable_data_ptr<float>();
    rows::for_rows(rows, n, [&](int64_t begin, int64_t end) {
      std::vector<float> a, b, c;
      for (int64_t i = begin; i < end; ++i) {
        const T* row = from + i * n;
        if (more != nullptr) {
          rows::add(rows::load(row, a, n), rows::load(more + i * n, b, n), rows::target(sums + i * n, c, n), n);
          rows::store(sums + i * n, c, n);
          row = sums + i * n;
        }
        rstd[i] = rows::rms_norm(rows::load(row, a, n), w.const_data_ptr<float>(), static_cast<float>(eps),
                                 rows::target(to + i * n, b, n), n);
        rows::store(to + i * n, b, n);
      }
    });
  });
  return result;
}

}  // namespace

Normed rms_norm_forward(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (x.is_cuda()) return cuda::rms_norm_forward(x, weight, eps);
  return norm_rows(x, {}, weight, eps, {});
}

NormedSum add_rms_norm_forward(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps) {
  if (x.is_cuda()) return cuda::add_rms_norm_forward(x, delta, weight, eps);
  const at::Tensor sum = at::empty(x.sizes(), x.options());
  return {sum, norm_rows(x, delta, weight, eps, sum)};
}

at::Tensor rms_norm_backward(const at::Tensor& g, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                             const at::Tensor& dweight, const at::Tensor& more) {
  if (x.is_cuda()) return cuda::rms_norm_backward(g, x, weight, rstd, dweight, more);
  const int64_t rows = x.size(0), n = x.size(1);
  const at::Tensor in = x.contiguous(), up = g.contiguous(), w = weight.to(at::kFloat);
  const at::Tensor past = more.defined() ? more.contiguous() : more;
  at::Tensor dx = at::empty_like(in);
  // A partial sum for each fixed stretch of rows, added in order: the same bits whatever thread did which.
  constexpr int64_t kStretch = 64;
  const int64_t stretches = (rows + kStretch - 1) / kStretch;
  at::Tensor partial = at::zeros({stretches, n}, w.options());
  rows::dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const T *from = in.const_data_ptr<T>(), *upstream = up.const_data_ptr<T>(),
            *passed = past.defined() ? past.const_data_ptr<T>() : nullptr;
    T* to = dx.mutable_data_ptr<T>();
    float* sums = partial.mutable_data_ptr<float>();
    at::parallel_for(0, stretches, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> a, b, c, d;
      for (int64_t i = begin * kStretch; i < std::min(rows, end * kStretch); ++i) {
        rows::rms_norm_backward(rows::load(upstream + i * n, a, n), rows::load(from + i * n, b, n),
                                w.const_data_ptr<float>(), rstd.const_data_ptr<float>()[i],
                                passed != nullptr ? rows::load(passed + i * n, d, n) : nullptr,
                                rows::target(to + i * n, c, n), sums + i / kStretch * n, n);
        rows::store(to + i * n, c, n);
      }
    });
  });
  dweight.add_(partial.sum(0));
  return dx;
}

at::Tensor swiglu_forward(const at::Tensor& gate_up) {
  if (gate_up.is_cuda()) return cuda::swiglu_forward(gate_up);
  const int64_t rows = gate_up.size(0), n = gate_up.size(1) / 2;
  const at::Tensor in = gate_up.contiguous();
  at::Tensor out = at::empty({rows, n}, in.options());
  rows::dispatch(in, [&](auto zero) {
    using T = decltype(zero);
    const T* from = in.const_data_ptr<T>();
    T* to = out.mutable_data_ptr<T>();
    rows::for_rows(rows, n, [&](int64_t begin, int64_t end) {
      std::vector<float> a, b;
      for (int64_t i = begin; i < end; ++i) {
        const float* row = rows::load(from + i * 2 * n, a, 2 * n);
        rows::swiglu(row, row + n, rows::target(to + i * n, b, n), n);
        rows::store(to + i * n, b, n);
      }
    });
  });
  return out;
}

at::Tensor swiglu_backward(const at::Tensor& g, const at::Tensor& gate_up) {
  if (gate_up.is_cuda()) return cuda::swiglu_backward(g, gate_up);
  const int64_t rows = gate_up.size(0), n = gate_up.size(1) / 2;
  const at::Tensor in = gate_up.contiguous(), up = g.contiguous();
  at::Tensor out = at::empty_like(in);
  rows::dispatch(in, [&](auto zero) {
    using T = decltype(zero);
    const T *from = in.const_data_ptr<T>(), *upstream = up.const_data_ptr<T>();
    T* to = out.mutable_data_ptr<T>();
    rows::for_rows(rows, n, [&](int64_t begin, int64_t end) {
      std::vector<float> a, b, c;
      for (int64_t i = begin; i < end; ++i) {
        const float* row = rows::load(from + i * 2 * n, a, 2 * n);
        float* result = rows::target(to + i * 2 * n, c, 2 * n);
        rows::swiglu_backward(rows::load(upstream + i * n, b, n), row, row + n, result, result + n, n);
        rows::store(to + i * 2 * n, c, 2 * n);
      }
    });
  });
  return out;
}

void rotate(at::Tensor x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  TORCH_INTERNAL_ASSERT(x.stride(2) == 1);
  if (x.is_cuda()) return cuda::rotate(x, cos, sin, inverse);
  const int64_t heads = x.size(1), n = x.size(2), half = n / 2, token_stride = x.stride(0), head_stride = x.stride(1);
  rows::dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    T* data = x.mutable_data_ptr<T>();
    rows::for_rows(x.size(0), heads * n, [&](int64_t begin, int64_t end) {
      std::vector<float> a;
      for (int64_t i = begin; i < end; ++i)
        for (int64_t h = 0; h < heads; ++h) {
          T* row = data + i * token_stride + h * head_stride;
          float* pairs = rows::load_to_change(row, a, n);
          rows::rotate(pairs, pairs + half, cos.const_data_ptr<float>() + i * half,
                       sin.const_data_ptr<float>() + i * half, inverse ? -1.0f : 1.0f, half);
          rows::store(row, a, n);
        }
    });
  });
}

}  // namespace spt
