// The loops over rows where numbers are large: what the compiler makes of them may not turn a limit into NaN.
#include "trainer/model/kernels/elementwise.h"

#include <cmath>

#include <ATen/Functions.h>
#include <gtest/gtest.h>

namespace spt {
namespace {

// Widths below and above a vector's.
TEST(Swiglu, OfLargeGates_IsItsLimit) {
  for (const int64_t width : {1, 8, 40})
    for (const double gate : {-1e4, -200.0, -100.0, -89.0, -88.0, -20.0, 0.0, 20.0, 88.0, 1e4}) {
      const at::Tensor gates = at::full({2, width}, gate, at::kFloat), up = at::full({2, width}, 1.5, at::kFloat);
      const at::Tensor gate_up = at::cat({gates, up}, 1);
      const double sigmoid = 1 / (1 + std::exp(-gate)), silu = gate * sigmoid;
      const auto near = [&](const at::Tensor& found, double wanted, const char* what) {
        EXPECT_TRUE(at::allclose(found, at::full_like(found, wanted), 1e-5, 1e-30))
            << what << " of gate " << gate << ", width " << width << ": " << found[0][0].item<double>();
      };
      near(swiglu_forward(gate_up), silu * 1.5, "output");
      const at::Tensor g = swiglu_backward(at::ones({2, width}, at::kFloat), gate_up);
      near(g.narrow(1, 0, width), 1.5 * (sigmoid + silu * (1 - sigmoid)), "gradient by gate");
      near(g.narrow(1, width, width), silu, "gradient by up");
    }
}

}  // namespace
}  // namespace spt
