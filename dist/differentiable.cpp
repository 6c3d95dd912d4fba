#include "dist/differentiable.h"

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

}  // namespace

at::Tensor copy_to(const at::Tensor& x, Communicator& tp) {
  return tp.size() == 1 ? x : CopyTo::apply(x, &tp);
}

at::Tensor reduce_from(const at::Tensor& x, Communicator& tp) {
  return tp.size() == 1 ? x : ReduceFrom::apply(x.contiguous(), &tp);
}

}  // namespace spt
