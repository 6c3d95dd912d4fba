#include "dist/differentiable.h"

#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

namespace spt {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct CopyTo : Function<CopyTo> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, Communicator* tp) {
    ctx->saved_data["tp"] = reinterpret_cast<int64_t>(tp);
    return x;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto* tp = reinterpret_cast<Communicator*>(ctx->saved_data["tp"].toInt());
    // Not in place: autograd may hand the same gradient to other functions.
    at::Tensor sum = grads[0].clone(at::MemoryFormat::Contiguous);
    tp->all_reduce(sum);
    return {sum, at::Tensor()};
  }
};

struct ReduceFrom : Function<ReduceFrom> {
  static at::Tensor forward(AutogradContext* ctx, at::Tensor x, Communicator* tp) {
    tp->all_reduce(x);
    ctx->mark_dirty({x});
    return x;
  }
  static variable_list backward(AutogradContext* /*ctx*/, variable_list grads) { return {grads[0], at::Tensor()}; }
};

// With zeros behind the end, so that the ranks' parts are of one size.
at::Tensor padded(const at::Tensor& x, int64_t rows) {
  if (x.size(0) == rows) return x.contiguous();
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] = rows;
  at::Tensor out = at::zeros(shape, x.options());
  out.narrow(0, 0, x.size(0)).copy_(x);
  return out;
}

at::Tensor reduced_part(const at::Tensor& x, Communicator& tp) {
  const int64_t part = (x.size(0) + tp.size() - 1) / tp.size();
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] = part;
  at::Tensor out = at::empty(shape, x.options());
  tp.reduce_scatter(out, padded(x, part * tp.size()));
  return out;
}

at::Tensor gathered(const at::Tensor& x, int64_t rows, Communicator& tp) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] *= tp.size();
  at::Tensor all = at::empty(shape, x.options());
  tp.all_gather(all, x.contiguous());
  return all.narrow(0, 0, rows);
}

struct GatherRows : Function<GatherRows> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, int64_t rows, Communicator* tp) {
    ctx->saved_data["tp"] = reinterpret_cast<int64_t>(tp);
    return gathered(x, rows, *tp);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto* tp = reinterpret_cast<Communicator*>(ctx->saved_data["tp"].toInt());
    return {reduced_part(grads[0], *tp), at::Tensor(), at::Tensor()};
  }
};

struct ScatterRows : Function<ScatterRows> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, Communicator* tp) {
    ctx->saved_data["tp"] = reinterpret_cast<int64_t>(tp);
    ctx->saved_data["rows"] = x.size(0);
    return reduced_part(x, *tp);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto* tp = reinterpret_cast<Communicator*>(ctx->saved_data["tp"].toInt());
    return {gathered(grads[0], ctx->saved_data["rows"].toInt(), *tp), at::Tensor()};
  }
};

}  // namespace

at::Tensor gather_rows(const at::Tensor& x, int64_t rows, Communicator& tp) {
  return tp.size() == 1 ? x : GatherRows::apply(x, rows, &tp);
}

at::Tensor scatter_rows(const at::Tensor& x, Communicator& tp) {
  return tp.size() == 1 ? x : ScatterRows::apply(x, &tp);
}

at::Tensor copy_to(const at::Tensor& x, Communicator& tp) {
  return tp.size() == 1 ? x : CopyTo::apply(x, &tp);
}

at::Tensor reduce_from(const at::Tensor& x, Communicator& tp) {
  return tp.size() == 1 ? x : ReduceFrom::apply(x.contiguous(), &tp);
}

}  // namespace spt
