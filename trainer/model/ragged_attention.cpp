#include "trainer/model/ragged_attention.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

namespace spt {
namespace {

// Flash attention's windows count keys to the left and right of the query.
std::optional<int64_t> window_left(std::optional<int64_t> window) {
  return window ? std::optional(*window - 1) : std::nullopt;
}
std::optional<int64_t> window_right(std::optional<int64_t> window) {
  return window ? std::optional<int64_t>(0) : std::nullopt;
}

// cuDNN takes one set of offsets for a tensor and its gradient, which libtorch allocates densely.
RaggedInput dense(const RaggedInput& in) {
  return {in.q.contiguous(), in.k.contiguous(), in.v.contiguous(), in.starts, in.longest, in.window};
}

std::vector<at::Tensor> both_passes(AttentionWay way, const RaggedInput& in, const at::Tensor& g) {
  const RaggedOutput output = ragged_attention(way, in);
  const RaggedGradient d = ragged_attention_backward(way, g, in, output);
  return {output.out, d.q, d.k, d.v};
}

struct Timed {
  double seconds;
  std::vector<at::Tensor> results;
};
Timed timed(AttentionWay way, const RaggedInput& in, const at::Tensor& g, int64_t layers) {
  const c10::impl::VirtualGuardImpl device(in.q.device().type());
  const auto wait = [&] { device.synchronizeDevice(in.q.device().index()); };
  RaggedInput longer = in;
  longer.longest += 128;
  both_passes(way, longer, g);  // loads the library; the shape that is timed stays new
  wait();
  const auto start = std::chrono::steady_clock::now();
  Timed result;
  for (int64_t i = 0; i < layers; ++i) result.results = both_passes(way, in, g);
  wait();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

// Largest |a − b| over two roundings to bf16 of their size, a hundredth of the largest element at least. NaN is far.
double distance_in_roundings(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kFloat), y = b.to(at::kFloat);
  const at::Tensor size = at::maximum(x.abs(), y.abs());
  const at::Tensor allowed = at::maximum(size, size.max() * 0.01).mul_(2.0 / 128).clamp_min_(1e-12);
  const double apart = ((x - y).abs() / allowed).max().item<double>();
  return std::isnan(apart) ? std::numeric_limits<double>::infinity() : apart;
}

}  // namespace

std::optional<std::string> why_no_cudnn(at::Device device, at::ScalarType dtype, std::optional<int64_t> window) {
  if (!device.is_cuda()) return "runs on GPUs only, and this is a CPU rank";
  if (dtype == at::kFloat) return "takes bf16 only, and model.dtype is fp32";
  if (window) return fmt::format("has no sliding window, and the model has one of {}", *window);
  return std::nullopt;
}

RaggedOutput ragged_attention(AttentionWay way, const RaggedInput& in) {
  TORCH_INTERNAL_ASSERT(way != AttentionWay::kAuto);
  if (way == AttentionWay::kCudnn) {
    const RaggedInput d = dense(in);
    const auto found = at::_cudnn_attention_forward(d.q, d.k, d.v, std::nullopt, d.starts, d.starts, d.longest,
                                                    d.longest, /*compute_log_sumexp=*/true, 0.0, /*is_causal=*/true);
    return {std::get<0>(found), std::get<1>(found), std::get<6>(found), std::get<7>(found)};
  }
  auto [out, logsumexp, seed, offset, debug] =
      at::_flash_attention_forward(in.q, in.k, in.v, in.starts, in.starts, in.longest, in.longest, 0.0, true, false,
                                   std::nullopt, window_left(in.window), window_right(in.window));
  return {out, logsumexp, seed, offset};
}

RaggedGradient ragged_attention_backward(AttentionWay way, const at::Tensor& g, const RaggedInput& in,
                                         const RaggedOutput& output) {
  TORCH_INTERNAL_ASSERT(way != AttentionWay::kAuto);
  if (way == AttentionWay::kCudnn) {
    const RaggedInput d = dense(in);
    auto [dq, dk, dv] =
        at::_cudnn_attention_backward(g, d.q, d.k, d.v, output.out, output.logsumexp, output.seed, output.offset,
                                      at::Tensor(), d.starts, d.starts, d.longest, d.longest, 0.0, /*is_causal=*/true);
    return {dq, dk, dv};
  }
  auto [dq, dk, dv] = at::_flash_attention_backward(
      g, in.q, in.k, in.v, output.out, output.logsumexp, in.starts, in.starts, in.longest, in.longest, 0.0, true,
      output.seed, output.offset, std::nullopt, window_left(in.window), window_right(in.window));
  return {dq, dk, dv};
}

std::string WaysCompared::describe() const {
  if (!error.empty()) return fmt::format("flash, since cuDNN cannot do it: {}", error);
  const std::string times =
      fmt::format("flash takes {:.2f} ms a micro-batch, cuDNN {:.2f} ms", flash_seconds * 1e3, cudnn_seconds * 1e3);
  if (apart > 1) return fmt::format("flash ({}, but {:.1f} times as far from flash as bf16 allows)", times, apart);
  return fmt::format("{} ({})", prefers_cudnn() ? "cudnn" : "flash", times);
}

WaysCompared compare_ways(const RaggedInput& in, int64_t layers) {
  const at::NoGradGuard no_grad;
  WaysCompared result{};
  // Without the generator of the run, whose state is none of a measurement's business.
  const auto noise = [](const at::Tensor& like, double seed) {
    const at::Tensor places = at::arange(like.numel(), like.options().dtype(at::kDouble));
    return at::sin(places * (1.7 + 0.31 * seed) + seed).mul_(2).view(like.sizes()).to(like.scalar_type());
  };
  const RaggedInput random{noise(in.q, 1), noise(in.k, 2), noise(in.v, 3), in.starts, in.longest, in.window};
  const at::Tensor g = noise(in.q, 4);
  const Timed flash = timed(AttentionWay::kFlash, random, g, layers);
  result.flash_seconds = flash.seconds;
  try {
    const Timed cudnn = timed(AttentionWay::kCudnn, random, g, layers);
    result.cudnn_seconds = cudnn.seconds;
    for (size_t i = 0; i < flash.results.size(); ++i)
      result.apart = std::max(result.apart, distance_in_roundings(flash.results[i], cudnn.results[i]));
  } catch (const c10::OutOfMemoryError&) {
    result.error = "out of memory";
  } catch (const c10::Error& error) {
    result.error = error.what_without_backtrace();
  }
  return result;
}

}  // namespace spt
