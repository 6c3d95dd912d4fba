// A call at a place of the backward pass.
#pragma once

#include <cstddef>
#include <functional>

#include <ATen/core/Tensor.h>

namespace spt {

// x itself. When the backward pass has x's gradient, and so has run all that was made of x, it calls f(argument). `f`
// must outlive the pass.
at::Tensor after_backward(const at::Tensor& x, const std::function<void(size_t)>& f, size_t argument);

}  // namespace spt
