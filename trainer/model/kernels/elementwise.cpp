#include "trainer/model/kernels/elementwise.h"

#include <type_traits>
#include <vector>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include "trainer/model/kernels/rows.h"

namespace spt {
namespace {

// Rows of at least this many elements in all are worth another thread.
constexpr int64_t kGrainElements = 1 << 15;

// A row as fp32: itself, or a converted copy in `scratch`.
template <class T>
const float* load(const T* row, std::vector<float>& scratch, int64_t n) {
  if constexpr (std::is_same_v<T, float>) {
    return row;
  } else {
    scratch.resize(static_cast<size_t>(n));
    rows::widen(reinterpret_cast<const uint16_t*>(row), scratch.data(), n);
    return scratch.data();
  }
}

// Where a row's result goes: itself, or `scratch`, from which `store` rounds it.
template <class T>
float* target(T* row, std::vector<float>& scratch, int64_t n) {
  if constexpr (std::is_same_v<T, float>) {
    return row;
  } else {
    scratch.resize(static_cast<size_t>(n));
    return scratch.data();
  }
}
template <class T>
void store(T* row, const std::vector<float>& scratch, int64_t n) {
  if constexpr (!std::is_same_v<T, float>) rows::narrow(scratch.data(), reinterpret_cast<uint16_t*>(row), n);
}

template <class F>
void for_rows(int64_t rows, int64_t row_elements, F&& f) {
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrainElements / row_elements), f);
}

template <class F>
void dispatch(const at::Tensor& x, F&& f) {
  if (x.scalar_type() == at::kFloat)
    f(float{});
  else
    f(at::BFloat16{});
}

}  // namespace

Normed rms_norm_forward(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (!x.is_cpu()) {
    const at::Tensor wide = x.to(at::kFloat);
    const at::Tensor rstd = wide.square().mean(-1, true).add_(eps).rsqrt_();
    return {(wide * rstd).to(x.scalar_type()).mul_(weight), rstd};
  }
  const int64_t rows = x.size(0), n = x.size(1);
  const at::Tensor in = x.contiguous(), w = weight.to(at::kFloat);
  Normed result{at::empty_like(in), at::empty({rows, 1}, x.options().dtype(at::kFloat))};
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const T* from = in.const_data_ptr<T>();
    T* to = result.out.mutable_data_ptr<T>();
    float* rstd = result.rstd.mutable_data_ptr<float>();
    for_rows(rows, n, [&](int64_t begin, int64_t end) {
      std::vector<float> a, b;
      for (int64_t i = begin; i < end; ++i) {
        rstd[i] = rows::rms_norm(load(from + i * n, a, n), w.const_data_ptr<float>(), static_cast<float>(eps),
                                 target(to + i * n, b, n), n);
        store(to + i * n, b, n);
      }
    });
  });
  return result;
}

at::Tensor rms_norm_backward(const at::Tensor& g, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                             const at::Tensor& dweight) {
  if (!x.is_cpu()) {
    const at::Tensor normed = x.to(at::kFloat) * rstd;
    const at::Tensor wide = g.to(at::kFloat);
    dweight.add_((wide * normed).sum(0));
    const at::Tensor scaled = wide * weight;
    const at::Tensor mean = (scaled * normed).mean(-1, true);
    return (scaled - normed * mean).mul_(rstd).to(x.scalar_type());
  }
  const int64_t rows = x.size(0), n = x.size(1);
  const at::Tensor in = x.contiguous(), up = g.contiguous(), w = weight.to(at::kFloat);
  at::Tensor dx = at::empty_like(in);
  // A partial sum for each fixed stretch of rows, added in order: the same bits whatever thread did which.
  constexpr int64_t kStretch = 64;
  const int64_t stretches = (rows + kStretch - 1) / kStretch;
  at::Tensor partial = at::zeros({stretches, n}, w.options());
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const T *from = in.const_data_ptr<T>(), *upstream = up.const_data_ptr<T>();
    T* to = dx.mutable_data_ptr<T>();
    float* sums = partial.mutable_data_ptr<float>();
    at::parallel_for(0, stretches, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> a, b, c;
      for (int64_t i = begin * kStretch; i < std::min(rows, end * kStretch); ++i) {
        rows::rms_norm_backward(load(upstream + i * n, a, n), load(from + i * n, b, n), w.const_data_ptr<float>(),
                                rstd.const_data_ptr<float>()[i], target(to + i * n, c, n), sums + i / kStretch * n, n);
        store(to + i * n, c, n);
      }
    });
  });
  dweight.add_(partial.sum(0));
  return dx;
}

at::Tensor swiglu_forward(const at::Tensor& gate_up) {
  if (!gate_up.is_cpu()) {
    const auto halves = gate_up.chunk(2, -1);
    return at::silu(halves[0]).mul_(halves[1]);
  }
  const int64_t rows = gate_up.size(0), n = gate_up.size(1) / 2;
  const at::Tensor in = gate_up.contiguous();
  at::Tensor out = at::empty({rows, n}, in.options());
  dispatch(in, [&](auto zero) {
    using T = decltype(zero);
    const T* from = in.const_data_ptr<T>();
    T* to = out.mutable_data_ptr<T>();
    for_rows(rows, n, [&](int64_t begin, int64_t end) {
      std::vector<float> a, b;
      for (int64_t i = begin; i < end; ++i) {
        const float* row = load(from + i * 2 * n, a, 2 * n);
        rows::swiglu(row, row + n, target(to + i * n, b, n), n);
        store(to + i * n, b, n);
      }
    });
  });
  return out;
}

at::Tensor swiglu_backward(const at::Tensor& g, const at::Tensor& gate_up) {
  const int64_t rows = gate_up.size(0), n = gate_up.size(1) / 2;
  const at::Tensor in = gate_up.contiguous(), up = g.contiguous();
  at::Tensor out = at::empty_like(in);
  if (!gate_up.is_cpu()) {
    const auto halves = in.chunk(2, -1);
    out.narrow(1, 0, n).copy_(at::silu_backward(up * halves[1], halves[0]));
    out.narrow(1, n, n).copy_(at::silu(halves[0]).mul_(up));
    return out;
  }
  dispatch(in, [&](auto zero) {
    using T = decltype(zero);
    const T *from = in.const_data_ptr<T>(), *upstream = up.const_data_ptr<T>();
    T* to = out.mutable_data_ptr<T>();
    for_rows(rows, n, [&](int64_t begin, int64_t end) {
      std::vector<float> a, b, c;
      for (int64_t i = begin; i < end; ++i) {
        const float* row = load(from + i * 2 * n, a, 2 * n);
        float* result = target(to + i * 2 * n, c, 2 * n);
        rows::swiglu_backward(load(upstream + i * n, b, n), row, row + n, result, result + n, n);
        store(to + i * 2 * n, c, 2 * n);
      }
    });
  });
  return out;
}

void rotate(at::Tensor x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  const int64_t half = x.size(2) / 2;
  if (!x.is_cpu()) {
    const at::Tensor c = cos.to(x.scalar_type()).unsqueeze(1),
                     s = (inverse ? -sin : sin).to(x.scalar_type()).unsqueeze(1);
    at::Tensor first = x.narrow(-1, 0, half), second = x.narrow(-1, half, half);
    const at::Tensor first_sin = first * s;
    first.mul_(c).sub_(second * s);
    second.mul_(c).add_(first_sin);
    return;
  }
  const int64_t heads = x.size(1), n = x.size(2), token_stride = x.stride(0), head_stride = x.stride(1);
  TORCH_INTERNAL_ASSERT(x.stride(2) == 1);
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    T* data = x.mutable_data_ptr<T>();
    for_rows(x.size(0), heads * n, [&](int64_t begin, int64_t end) {
      std::vector<float> a;
      for (int64_t i = begin; i < end; ++i)
        for (int64_t h = 0; h < heads; ++h) {
          T* row = data + i * token_stride + h * head_stride;
          float* pairs = const_cast<float*>(load(row, a, n));  // of fp32: the row itself
          rows::rotate(pairs, pairs + half, cos.const_data_ptr<float>() + i * half,
                       sin.const_data_ptr<float>() + i * half, inverse ? -1.0f : 1.0f, half);
          store(row, a, n);
        }
    });
  });
}

}  // namespace spt
