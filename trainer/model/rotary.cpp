#include "trainer/model/rotary.h"

#include <cmath>
#include <numbers>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

namespace spt {
namespace {

// Llama 3.1: wavelengths beyond the original context are stretched by `factor`, short ones stay, between them it
// blends.
at::Tensor llama3_frequencies(const at::Tensor& frequencies, const RopeConfig& rope) {
  const double context = static_cast<double>(rope.original_max_positions);
  const double low_wavelength = context / rope.low_freq_factor;
  const double high_wavelength = context / rope.high_freq_factor;
  const at::Tensor wavelengths = 2 * std::numbers::pi / frequencies;
  at::Tensor scaled = at::where(wavelengths > low_wavelength, frequencies / rope.factor, frequencies);
  const at::Tensor smooth =
      (context / wavelengths - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  const at::Tensor blended = (1 - smooth) * scaled / rope.factor + smooth * scaled;
  const at::Tensor between = (wavelengths >= high_wavelength).logical_and(wavelengths <= low_wavelength);
  return at::where(between, blended, scaled);
}

}  // namespace

Rotary::Rotary(const ModelConfig& config, at::Device device) {
  const at::Tensor exponents =
      at::arange(0, config.head_dim, 2, at::kLong).to(at::kFloat).div(static_cast<double>(config.head_dim));
  at::Tensor frequencies = 1.0 / at::pow(config.rope.theta, exponents);
  if (config.rope.scaling == RopeScaling::kLinear) frequencies = frequencies / config.rope.factor;
  if (config.rope.scaling == RopeScaling::kLlama3) frequencies = llama3_frequencies(frequencies, config.rope);
  inverse_frequencies_ = frequencies.to(device);
}

Rotary::Angles Rotary::at(const at::Tensor& positions) const {
  const at::Tensor angles = positions.to(at::kFloat).unsqueeze(-1) * inverse_frequencies_;
  if (!angles.is_cpu()) return {angles.cos(), angles.sin()};
  // By one function for each: ATen computes what is left over behind its vectors by another one, so that an angle's
  // bits would hang on how many others there are.
  Angles result{at::empty_like(angles), at::empty_like(angles)};
  const float* from = angles.const_data_ptr<float>();
  float *cos = result.cos.mutable_data_ptr<float>(), *sin = result.sin.mutable_data_ptr<float>();
  constexpr int64_t kGrain = 1 << 12;
  at::parallel_for(0, angles.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      cos[i] = std::cos(from[i]);
      sin[i] = std::sin(from[i]);
    }
  });
  return result;
}

}  // namespace spt
