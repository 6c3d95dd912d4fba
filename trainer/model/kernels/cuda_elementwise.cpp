#include "trainer/model/kernels/cuda_elementwise.h"

#include <limits>

#include <ATen/Functions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "dist/cuda_call.h"
#include "trainer/model/kernels/cuda_launch.h"

namespace spt::cuda {
namespace {

Dtype dtype_of(const at::Tensor& x) {
  TORCH_INTERNAL_ASSERT(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, x.scalar_type());
  return x.scalar_type() == at::kFloat ? Dtype::kFloat : Dtype::kBFloat16;
}

// f(launch) starts kernels over the rows of x; without rows there is nothing to start.
template <class F>
void start(const char* name, const at::Tensor& x, int64_t columns, const F& f) {
  const int64_t rows = x.size(0);
  TORCH_INTERNAL_ASSERT(
      rows <= std::numeric_limits<int32_t>::max() && columns < std::numeric_limits<int32_t>::max() / 2, name, " of ",
      x.sizes());
  if (rows == 0) return;
  const c10::cuda::CUDAGuard on_device(x.device());
  f(Launch{c10::cuda::getCurrentCUDAStream(x.device().index()).stream(), dtype_of(x), rows, static_cast<int>(columns)});
  check_cuda(cudaGetLastError(), name);
}

const void* data(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr() : nullptr;
}
void* mutable_data(const at::Tensor& x) {
  return x.defined() ? x.mutable_data_ptr() : nullptr;
}

at::Tensor contiguous(const at::Tensor& x) {
  return x.defined() ? x.contiguous() : x;
}

// With `delta` the norm is that of x + delta, which is written to `sum`.
Normed norm_rows(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps,
                 const at::Tensor& sum) {
  TORCH_INTERNAL_ASSERT(weight.scalar_type() == x.scalar_type() &&
                        (!delta.defined() || (delta.scalar_type() == x.scalar_type() && delta.sizes() == x.sizes())));
  const at::Tensor in = x.contiguous(), added = contiguous(delta), w = weight.contiguous();
  Normed result{at::empty_like(in), at::empty({x.size(0), 1}, x.options().dtype(at::kFloat))};
  start("rms_norm", in, x.size(1), [&](const Launch& launch) {
    launch_rms_norm(launch, data(in), data(added), data(w), static_cast<float>(eps), mutable_data(sum),
                    mutable_data(result.out), result.rstd.mutable_data_ptr<float>());
  });
  return result;
}

}  // namespace

Normed rms_norm_forward(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return norm_rows(x, {}, weight, eps, {});
}

NormedSum add_rms_norm_forward(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps) {
  const at::Tensor sum = at::empty(x.sizes(), x.options());
  return {sum, norm_rows(x, delta, weight, eps, sum)};
}

at::Tensor rms_norm_backward(const at::Tensor& g, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                             const at::Tensor& dweight, const at::Tensor& more) {
  TORCH_INTERNAL_ASSERT(g.scalar_type() == x.scalar_type() && weight.scalar_type() == x.scalar_type() &&
                        (!more.defined() || more.scalar_type() == x.scalar_type()) && rstd.is_contiguous() &&
                        dweight.scalar_type() == at::kFloat && dweight.is_contiguous());
  const at::Tensor up = g.contiguous(), in = x.contiguous(), w = weight.contiguous(), past = contiguous(more);
  const int64_t stretches = rms_norm_stretches(x.size(0));
  at::Tensor dx = at::empty_like(in);
  const at::Tensor partial = at::empty({stretches, x.size(1)}, dweight.options());
  start("rms_norm_backward", in, x.size(1), [&](const Launch& launch) {
    launch_rms_norm_backward(launch, data(up), data(in), data(w), rstd.const_data_ptr<float>(), data(past),
                             mutable_data(dx), partial.mutable_data_ptr<float>());
    check_cuda(cudaGetLastError(), "rms_norm_backward");
    launch_add_stretches(launch.stream, partial.const_data_ptr<float>(), stretches, launch.columns,
                         dweight.mutable_data_ptr<float>());
  });
  return dx;
}

at::Tensor swiglu_forward(const at::Tensor& gate_up) {
  const at::Tensor in = gate_up.contiguous();
  const int64_t n = in.size(1) / 2;
  at::Tensor out = at::empty({in.size(0), n}, in.options());
  start("swiglu", in, n, [&](const Launch& launch) { launch_swiglu(launch, data(in), mutable_data(out)); });
  return out;
}

at::Tensor swiglu_backward(const at::Tensor& g, const at::Tensor& gate_up) {
  TORCH_INTERNAL_ASSERT(g.scalar_type() == gate_up.scalar_type());
  const at::Tensor in = gate_up.contiguous(), up = g.contiguous();
  at::Tensor out = at::empty_like(in);
  start("swiglu_backward", in, in.size(1) / 2,
        [&](const Launch& launch) { launch_swiglu_backward(launch, data(up), data(in), mutable_data(out)); });
  return out;
}

void rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  TORCH_INTERNAL_ASSERT(cos.is_contiguous() && sin.is_contiguous());
  start("rotate", x, x.size(2) / 2, [&](const Launch& launch) {
    launch_rotate(launch, mutable_data(x), {static_cast<int>(x.size(1)), x.stride(0), x.stride(1)},
                  cos.const_data_ptr<float>(), sin.const_data_ptr<float>(), inverse ? -1.0f : 1.0f);
  });
}

SoftmaxSums softmax_sums(const at::Tensor& logits, const at::Tensor& labels, int64_t begin) {
  const at::TensorOptions fp32 = logits.options().dtype(at::kFloat);
  SoftmaxSums result{at::empty({logits.size(0)}, fp32), at::empty({2, logits.size(0)}, fp32)};
  start("softmax_sums", logits, logits.size(1), [&](const Launch& launch) {
    launch_softmax_sums(launch, data(logits), labels.const_data_ptr<int64_t>(), begin,
                        result.highest.mutable_data_ptr<float>(), result.sums.mutable_data_ptr<float>());
  });
  return result;
}

void softmax_gradient(const at::Tensor& logits, const at::Tensor& labels, int64_t begin, const at::Tensor& highest,
                      const at::Tensor& sum, double scale) {
  start("softmax_gradient", logits, logits.size(1), [&](const Launch& launch) {
    launch_softmax_gradient(launch, mutable_data(logits), labels.const_data_ptr<int64_t>(), begin,
                            highest.const_data_ptr<float>(), sum.const_data_ptr<float>(), static_cast<float>(scale));
  });
}

}  // namespace spt::cuda
