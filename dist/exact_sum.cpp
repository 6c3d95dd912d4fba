#include "dist/exact_sum.h"

#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>

namespace spt {
namespace {

constexpr int kGradientBits = 48, kSumBits = 72, kLimbBits = 32, kLimbs = 4;
constexpr int64_t kChunk = int64_t{1} << 18;  // stays in a core's cache
constexpr double kLargestSum = 0x1p54;

}  // namespace

void add_fixed_point(const at::Tensor& sums, const at::Tensor& terms, at::Tensor& largest) {
  for (int64_t begin = 0; begin < terms.numel(); begin += kChunk) {
    const int64_t length = std::min(kChunk, terms.numel() - begin);
    const at::Tensor part = terms.narrow(0, begin, length);
    largest = at::maximum(largest, at::linalg_vector_norm(part, INFINITY));
    // A float times a power of two is exact; rounding to an integer is to even.
    sums.narrow(0, begin, length).add_(part.mul(std::ldexp(1.0, kGradientBits)).round_().to(at::kLong));
  }
}

double largest_term(int64_t count) {
  return std::ldexp(1.0, 62 - kGradientBits) / static_cast<double>(std::max<int64_t>(1, count));
}

void from_fixed_point(const at::Tensor& values, const at::Tensor& sums) {
  for (int64_t begin = 0; begin < sums.numel(); begin += kChunk) {
    const int64_t length = std::min(kChunk, sums.numel() - begin);
    const at::Tensor exact = sums.narrow(0, begin, length).to(at::kDouble);
    values.narrow(0, begin, length).copy_(exact.mul(std::ldexp(1.0, -kGradientBits)));
  }
}

void ExactSum::add(double term) {
  if (!(std::abs(term) < kLargestSum)) {
    is_number_ = false;
    return;
  }
  sum_ += static_cast<decltype(sum_)>(std::ldexp(term, kSumBits));
  is_number_ = is_number_ && std::abs(static_cast<double>(sum_)) < std::ldexp(kLargestSum, kSumBits);
}

void ExactSum::add_squares(const at::Tensor& x, double weight) {
  const int64_t whole = x.numel() / kExactBlock * kExactBlock;
  for (int64_t begin = 0; begin < whole; begin += kChunk) {
    const int64_t length = std::min(kChunk, whole - begin);
    const at::Tensor squares =
        x.narrow(0, begin, length).to(at::kDouble).square_().view({-1, kExactBlock}).sum(1).cpu();
    const double* first = squares.data_ptr<double>();
    for (int64_t i = 0; i < squares.numel(); ++i) add(first[i] * weight);
  }
  if (whole < x.numel())
    add(x.narrow(0, whole, x.numel() - whole).to(at::kDouble).square_().sum().item<double>() * weight);
}

at::Tensor ExactSum::limbs() const {
  at::Tensor limbs = at::zeros({kLimbs + 1}, at::kLong);
  auto rest = sum_;
  for (int i = 0; i < kLimbs; ++i) {
    const auto low = i + 1 < kLimbs ? static_cast<int64_t>(rest & 0xffffffff) : static_cast<int64_t>(rest);
    limbs[i] = low;
    rest >>= kLimbBits;
  }
  limbs[kLimbs] = int64_t{!is_number_};
  return limbs;
}

double ExactSum::of(const at::Tensor& limbs) {
  if (limbs[kLimbs].item<int64_t>() != 0) return std::numeric_limits<double>::quiet_NaN();
  decltype(ExactSum::sum_) sum = 0;
  for (int i = kLimbs - 1; i >= 0; --i) sum = sum * (int64_t{1} << kLimbBits) + limbs[i].item<int64_t>();
  return std::ldexp(static_cast<double>(sum), -kSumBits);
}

}  // namespace spt
