#include "trainer/model/recompute.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

namespace spt {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

using Block = std::function<at::Tensor(const at::Tensor&)>;

// Ties the block to the node's life.
struct BlockHolder : torch::CustomClassHolder {
  explicit BlockHolder(Block b) : block(std::move(b)) {}
  Block block;
};

struct RecomputeFunction : Function<RecomputeFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const Block& block) {
    ctx->saved_data["block"] = c10::IValue::make_capsule(c10::make_intrusive<BlockHolder>(block));
    ctx->save_for_backward({x});
    return block(x);
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto holder = c10::static_intrusive_pointer_cast<BlockHolder>(ctx->saved_data["block"].toCapsule());
    at::Tensor x = ctx->get_saved_variables()[0].detach().requires_grad_(true);
    {
      at::AutoGradMode with_graph(true);
      const at::Tensor y = holder->block(x);
      torch::autograd::backward({y}, {grads[0]});
    }
    return {x.grad(), at::Tensor()};
  }
};

}  // namespace

at::Tensor recompute(const Block& block, const at::Tensor& x) {
  return RecomputeFunction::apply(x, block);
}

}  // namespace spt
