#include "trainer/model/layers.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include "dist/begun.h"
#include "trainer/model/kernels/elementwise.h"
#include "trainer/model/kernels/factor.h"
#include "trainer/model/kernels/few_rows.h"

namespace spt {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// Parameters outlive every graph, so a pointer is what a node keeps.
void keep(AutogradContext* ctx, Parameter& parameter) {
  ctx->saved_data["parameter"] = reinterpret_cast<int64_t>(&parameter);
}
Parameter& kept(AutogradContext* ctx) {
  return *reinterpret_cast<Parameter*>(ctx->saved_data["parameter"].toInt());
}

struct LinearFunction : Function<LinearFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& value, Parameter& weight) {
    keep(ctx, weight);
    ctx->save_for_backward({x});
    advance_begun();
    return mm_by_rows(x, value);
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    Parameter& weight = kept(ctx);
    const at::Tensor x = ctx->get_saved_variables()[0];
    const at::Tensor g = factor(grads[0].contiguous());
    add_product(weight.grad, g.t(), factor(x));
    advance_begun();
    at::Tensor dx;
    if (ctx->needs_input_grad(0)) dx = at::mm(g, factor(weight.value.detach())).to(x.scalar_type());
    advance_begun();
    return {dx, at::Tensor(), at::Tensor()};
  }
};

void keep_norm(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& rstd, Parameter& weight,
               Communicator* rows_over) {
  keep(ctx, weight);
  ctx->saved_data["rows_over"] = reinterpret_cast<int64_t>(rows_over);
  ctx->save_for_backward({x, rstd});
}

// The gradient of the norm's input for upstream g, plus `more`; adds the weight's.
at::Tensor norm_backward(AutogradContext* ctx, const at::Tensor& g, const at::Tensor& more) {
  Parameter& weight = kept(ctx);
  const auto saved = ctx->get_saved_variables();
  auto* rows_over = reinterpret_cast<Communicator*>(ctx->saved_data["rows_over"].toInt());
  const bool in_place = rows_over == nullptr && weight.grad.scalar_type() == at::kFloat;
  const at::Tensor dweight = in_place ? weight.grad : at::zeros_like(weight.grad, at::kFloat);
  at::Tensor dx = rms_norm_backward(g, saved[0], weight.value.detach(), saved[1], dweight, more);
  if (rows_over != nullptr) rows_over->all_reduce(dweight);
  if (!in_place) weight.grad.add_(dweight);
  return dx;
}

struct RmsNormFunction : Function<RmsNormFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& value, Parameter& weight,
                            double eps, Communicator* rows_over) {
    const Normed normed = rms_norm_forward(x, value.detach(), eps);
    keep_norm(ctx, x, normed.rstd, weight, rows_over);
    return normed.out;
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    return {norm_backward(ctx, grads[0], {}), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct AddRmsNormFunction : Function<AddRmsNormFunction> {
  static tensor_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& delta,
                             const at::Tensor& value, Parameter& weight, double eps, Communicator* rows_over) {
    const NormedSum added = add_rms_norm_forward(x, delta, value.detach(), eps);
    keep_norm(ctx, added.sum, added.normed.rstd, weight, rows_over);
    return {added.sum, added.normed.out};
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const at::Tensor dsum = norm_backward(ctx, grads[1], grads[0]);  // of x and of delta
    return {dsum, dsum, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct SwigluFunction : Function<SwigluFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate_up) {
    ctx->save_for_backward({gate_up});
    return swiglu_forward(gate_up);
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    return {swiglu_backward(grads[0], ctx->get_saved_variables()[0])};
  }
};

struct EmbeddingFunction : Function<EmbeddingFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& value, const at::Tensor& ids, Parameter& weight,
                            int64_t begin, int tp) {
    keep(ctx, weight);
    const Shard& shard = weight.shards[0];
    const bool whole = tp == 1;
    // Ids of other ranks look up row 0 and are blanked.
    const at::Tensor mine = whole ? at::Tensor() : (ids >= begin).logical_and_(ids < begin + (shard.end - shard.begin));
    const at::Tensor rows = whole ? ids : at::where(mine, ids - begin, at::zeros({}, ids.options()));
    ctx->save_for_backward({rows, mine});
    at::Tensor x = value.detach().index_select(0, rows);
    if (!whole) x.masked_fill_(mine.logical_not().unsqueeze(-1), 0);
    return x;
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    at::Tensor& gradient = kept(ctx).grad;
    at::Tensor g = grads[0].to(at::kFloat);
    if (saved[1].defined()) g = g.masked_fill(saved[1].logical_not().unsqueeze(-1), 0);
    if (gradient.scalar_type() == at::kFloat) {
      gradient.index_add_(0, saved[0], g);
    } else {  // a token's occurrences are added up before they are rounded
      const auto [ids, place] = at::_unique(saved[0], true, true);
      const at::Tensor sums = at::zeros({ids.size(0), g.size(1)}, g.options()).index_add_(0, place, g);
      gradient.index_add_(0, ids, sums.to(gradient.scalar_type()));
    }
    return {at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, Parameter& weight) {
  return LinearFunction::apply(x, weight.value, weight);
}

at::Tensor rms_norm(const at::Tensor& x, Parameter& weight, double eps, Communicator* rows_over) {
  return RmsNormFunction::apply(x, weight.value, weight, eps, rows_over);
}

SumAndNorm add_rms_norm(const at::Tensor& x, const at::Tensor& delta, Parameter& weight, double eps,
                        Communicator* rows_over) {
  const tensor_list added = AddRmsNormFunction::apply(x, delta, weight.value, weight, eps, rows_over);
  return {added[0], added[1]};
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  return SwigluFunction::apply(gate_up);
}

at::Tensor embedding(const at::Tensor& ids, Parameter& weight, int64_t begin, int tp) {
  return EmbeddingFunction::apply(weight.value, ids, weight, begin, tp);
}

}  // namespace spt
