#include "dist/differentiable.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "tests/ranks.h"

namespace spt {
namespace {

at::Tensor weights(int64_t rows, int64_t columns, double scale) {
  return at::sin(at::arange(rows * columns, at::kDouble) * scale).view({rows, columns});
}

// The two halves of a parallel MLP: columns of `up` and rows of `down` are this rank's.
at::Tensor mlp(const at::Tensor& x, const at::Tensor& up, const at::Tensor& down, Communicator& tp) {
  return reduce_from(at::matmul(at::tanh(at::matmul(copy_to(x, tp), up)), down), tp);
}

class Differentiable : public testing::Test {
 protected:
  const std::unique_ptr<Communicator> tp_ = job().host_world().split(0, job().rank());
  const int64_t width_ = 3 * job().size();  // inner
  at::Tensor x_ = weights(5, 4, 0.7), up_ = weights(4, width_, 1.3), down_ = weights(width_, 6, 2.1);
  at::Tensor part_of(const at::Tensor& whole, int64_t dim) { return whole.narrow(dim, 3 * job().rank(), 3).clone(); }
};

TEST_F(Differentiable, ConjugatePairs_GiveTheGradientsOfTheUncutFunction) {
  const at::Tensor x = x_.clone().requires_grad_(), up = up_.clone().requires_grad_(),
                   down = down_.clone().requires_grad_();
  at::tanh(at::matmul(at::tanh(at::matmul(x, up)), down)).sum().backward();

  const at::Tensor cut_x = x_.clone().requires_grad_(), cut_up = part_of(up_, 1).requires_grad_(),
                   cut_down = part_of(down_, 0).requires_grad_();
  at::tanh(mlp(cut_x, cut_up, cut_down, *tp_)).sum().backward();

  EXPECT_TRUE(at::allclose(cut_x.grad(), x.grad(), 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(cut_up.grad(), part_of(up.grad(), 1), 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(cut_down.grad(), part_of(down.grad(), 0), 1e-12, 1e-12));
}

// Five rows, which no other number of ranks divides: the last ranks have rows of zeros.
TEST_F(Differentiable, RowsCutOverRanks_GiveTheGradientsOfTheUncutFunction) {
  const at::Tensor x = x_.clone().requires_grad_(), up = up_.clone().requires_grad_(),
                   down = down_.clone().requires_grad_();
  const at::Tensor y = at::tanh(at::matmul(at::tanh(at::matmul(x, up)), down));
  y.sum().backward();

  const int64_t part = (5 + tp_->size() - 1) / tp_->size();
  const auto rows_of = [&](const at::Tensor& whole) {
    at::Tensor padded = at::zeros({part * tp_->size(), whole.size(1)}, whole.options());
    padded.narrow(0, 0, 5).copy_(whole.detach());
    return padded.narrow(0, part * tp_->rank(), part).clone();
  };
  const at::Tensor cut_x = rows_of(x_).requires_grad_(), cut_up = part_of(up_, 1).requires_grad_(),
                   cut_down = part_of(down_, 0).requires_grad_();
  const at::Tensor inner = at::tanh(at::matmul(gather_rows(cut_x, 5, *tp_), cut_up));
  const at::Tensor cut_y = at::tanh(scatter_rows(at::matmul(inner, cut_down), *tp_));
  cut_y.sum().backward();

  EXPECT_TRUE(at::allclose(cut_y, rows_of(y), 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(cut_x.grad(), rows_of(x.grad()), 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(cut_up.grad(), part_of(up.grad(), 1), 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(cut_down.grad(), part_of(down.grad(), 0), 1e-12, 1e-12));
}

TEST_F(Differentiable, Gradients_EqualFiniteDifferences) {
  const at::Tensor x = x_.clone().requires_grad_(), up = part_of(up_, 1), down = part_of(down_, 0);
  mlp(x, up, down, *tp_).pow(2).sum().backward();
  const double step = 1e-5;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const auto loss_at = [&](double shift) {
      at::Tensor moved = x_.clone();
      moved.view(-1)[i] += shift;
      return mlp(moved, up, down, *tp_).pow(2).sum().item<double>();
    };
    const double slope = (loss_at(step) - loss_at(-step)) / (2 * step);
    EXPECT_NEAR(x.grad().view(-1)[i].item<double>(), slope, 1e-6 * (1 + std::abs(slope)));
  }
}

TEST_F(Differentiable, CopyTo_LeavesAGradientThatOthersShareAlone) {
  const at::Tensor a = at::ones({3}, at::kDouble).requires_grad_(), b = at::ones({3}, at::kDouble).requires_grad_();
  (copy_to(a, *tp_) + b).sum().backward();  // addition gives both sides the same gradient tensor
  EXPECT_TRUE(at::equal(a.grad(), at::full({3}, tp_->size(), at::kDouble)));
  EXPECT_TRUE(at::equal(b.grad(), at::ones({3}, at::kDouble)));
}

TEST_F(Differentiable, ReduceFrom_TakesAnyLayout) {
  const at::Tensor x = weights(4, 5, 1.1).requires_grad_();
  const at::Tensor sum = reduce_from(x.t() * 2, *tp_);
  EXPECT_TRUE(at::allclose(sum, x.t() * 2 * tp_->size()));
  sum.sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), at::full({4, 5}, 2, at::kDouble)));
}

TEST_F(Differentiable, ReduceFrom_TellsAutogradThatItWrites) {
  if (tp_->size() == 1) GTEST_SKIP() << "nothing is written in a group of one";
  const at::Tensor x = weights(2, 2, 1.0).requires_grad_();
  const at::Tensor y = at::exp(x);  // keeps its output for the backward pass
  const at::Tensor sum = reduce_from(y, *tp_).sum();
  EXPECT_THROW(sum.backward(), c10::Error);
}

TEST_F(Differentiable, WithoutGradients_OnlyCommunicates) {
  const c10::NoGradGuard guard;
  const at::Tensor sum = reduce_from(copy_to(at::ones({3}), *tp_) * 1, *tp_);
  EXPECT_TRUE(at::equal(sum, at::full({3}, static_cast<float>(tp_->size()))));
  EXPECT_FALSE(sum.requires_grad());
}

}  // namespace
}  // namespace spt
