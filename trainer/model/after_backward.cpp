#include "trainer/model/after_backward.h"

#include <torch/csrc/autograd/custom_function.h>

namespace spt {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

struct AfterBackwardFunction : Function<AfterBackwardFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const std::function<void(size_t)>* f,
                            size_t argument) {
    ctx->saved_data["f"] = reinterpret_cast<int64_t>(f);
    ctx->saved_data["argument"] = static_cast<int64_t>(argument);
    return x;
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto* f = reinterpret_cast<const std::function<void(size_t)>*>(ctx->saved_data["f"].toInt());
    (*f)(static_cast<size_t>(ctx->saved_data["argument"].toInt()));
    return {grads[0], at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor after_backward(const at::Tensor& x, const std::function<void(size_t)>& f, size_t argument) {
  return AfterBackwardFunction::apply(x, &f, argument);
}

}  // namespace spt
