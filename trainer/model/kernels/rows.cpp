#include "trainer/model/kernels/rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#define SPT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SPT_CLONES
#endif

namespace spt::rows {
namespace {

// Tiles of sums that stay in registers: 3 × 4 vectors and what they are made of fit the 16 of AVX2.
constexpr int kTileRows = 3, kTileColumns = 4;

template <int R, int C>
[[gnu::always_inline]] inline void dots_tile(const float* __restrict x, int64_t x_stride, const float* __restrict w,
                                             int64_t w_stride, int64_t k, float* __restrict out, int64_t out_stride) {
  float sums[R][C] = {};
  for (int64_t i = 0; i < k; ++i)
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; ++c) sums[r][c] += x[r * x_stride + i] * w[c * w_stride + i];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) out[r * out_stride + c] = sums[r][c];
}

template <int C>
[[gnu::always_inline]] inline void dots_columns(const float* x, int64_t x_stride, int64_t m, const float* w,
                                                int64_t w_stride, int64_t k, float* out, int64_t out_stride) {
  int64_t r = 0;
  for (; r + kTileRows <= m; r += kTileRows)
    dots_tile<kTileRows, C>(x + r * x_stride, x_stride, w, w_stride, k, out + r * out_stride, out_stride);
  for (; r < m; ++r) dots_tile<1, C>(x + r * x_stride, x_stride, w, w_stride, k, out + r * out_stride, out_stride);
}

// Written as vectors: of the plain loop the compiler keeps the sums in memory.
using Eight [[gnu::vector_size(32), gnu::aligned(4), gnu::may_alias]] = float;
constexpr int64_t kEight = 8;

template <int R, int C>
[[gnu::always_inline]] inline void weighted_tile(const float* p, int64_t p_stride, const float* v, int64_t v_stride,
                                                 int64_t n, float* out, int64_t out_stride) {
  Eight sums[R][C] = {};
  for (int64_t i = 0; i < n; ++i)
    for (int c = 0; c < C; ++c) {
      const Eight row = *reinterpret_cast<const Eight*>(v + i * v_stride + c * kEight);
      for (int r = 0; r < R; ++r) sums[r][c] += p[r * p_stride + i] * row;
    }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) *reinterpret_cast<Eight*>(out + r * out_stride + c * kEight) = sums[r][c];
}

template <int R>
[[gnu::always_inline]] inline void weighted_rows(const float* p, int64_t p_stride, const float* v, int64_t v_stride,
                                                 int64_t n, int64_t width, float* out, int64_t out_stride) {
  int64_t c = 0;
  for (; c + kTileColumns * kEight <= width; c += kTileColumns * kEight)
    weighted_tile<R, kTileColumns>(p, p_stride, v + c, v_stride, n, out + c, out_stride);
  for (; c + kEight <= width; c += kEight) weighted_tile<R, 1>(p, p_stride, v + c, v_stride, n, out + c, out_stride);
  for (; c < width; ++c)
    for (int r = 0; r < R; ++r) {
      float sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += p[r * p_stride + i] * v[i * v_stride + c];
      out[r * out_stride + c] = sum;
    }
}

}  // namespace

SPT_CLONES void widen(const uint16_t* __restrict x, float* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = std::bit_cast<float>(static_cast<uint32_t>(x[i]) << 16);
}

SPT_CLONES void narrow(const float* __restrict x, uint16_t* __restrict out, int64_t n) {
  // In integers: -ffast-math knows no NaN.
  constexpr uint32_t kInfinity = 0x7f800000, kSign = 0x80000000;
  constexpr uint16_t kNan = 0x7fc0;
  for (int64_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<uint32_t>(x[i]);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    out[i] = (bits & ~kSign) > kInfinity ? kNan : static_cast<uint16_t>(rounded);
  }
}

SPT_CLONES float rms_norm(const float* __restrict x, const float* __restrict w, float eps, float* __restrict out,
                          int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const float rstd = 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * rstd * w[i];
  return rstd;
}

SPT_CLONES void rms_norm_backward(const float* __restrict g, const float* __restrict x, const float* __restrict w,
                                  float rstd, const float* __restrict more, float* __restrict dx, float* __restrict dw,
                                  int64_t n) {
  float dot = 0;
  for (int64_t i = 0; i < n; ++i) dot += g[i] * w[i] * x[i];
  const float mean = dot * rstd * rstd / static_cast<float>(n);
  for (int64_t i = 0; i < n; ++i) {
    dw[i] += g[i] * x[i] * rstd;
    dx[i] = rstd * (g[i] * w[i] - x[i] * mean);
  }
  if (more == nullptr) return;
  for (int64_t i = 0; i < n; ++i) dx[i] += more[i];
}

SPT_CLONES void add(const float* __restrict a, const float* __restrict b, float* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

namespace {

// exp(−x), as far as 1 + it is finite: the reciprocal that the compiler may use for a division makes NaN of infinity.
[[gnu::always_inline]] inline float exp_of_minus(float x) {
  constexpr float kLargest = 87;
  return std::exp(std::min(-x, kLargest));
}

}  // namespace

SPT_CLONES void swiglu(const float* __restrict gate, const float* __restrict up, float* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = gate[i] / (1.0f + exp_of_minus(gate[i])) * up[i];
}

SPT_CLONES void swiglu_backward(const float* __restrict g, const float* __restrict gate, const float* __restrict up,
                                float* __restrict dgate, float* __restrict dup, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float e = exp_of_minus(gate[i]), sigmoid = 1.0f / (1.0f + e), silu = gate[i] * sigmoid;
    dup[i] = g[i] * silu;
    dgate[i] = g[i] * up[i] * (sigmoid + silu * (e * sigmoid));  // 1 − sigmoid would be its rounding error
  }
}

SPT_CLONES void rotate(float* __restrict first, float* __restrict second, const float* __restrict cos,
                       const float* __restrict sin, float sin_sign, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float a = first[i], b = second[i], s = sin[i] * sin_sign;
    first[i] = a * cos[i] - b * s;
    second[i] = b * cos[i] + a * s;
  }
}

SPT_CLONES void dots(const float* x, int64_t x_stride, int64_t m, const float* w, int64_t w_stride, int64_t n,
                     int64_t k, float* out, int64_t out_stride) {
  int64_t c = 0;
  for (; c + kTileColumns <= n; c += kTileColumns)
    dots_columns<kTileColumns>(x, x_stride, m, w + c * w_stride, w_stride, k, out + c, out_stride);
  for (; c < n; ++c) dots_columns<1>(x, x_stride, m, w + c * w_stride, w_stride, k, out + c, out_stride);
}

SPT_CLONES void weighted_sums(const float* p, int64_t p_stride, int64_t m, const float* v, int64_t v_stride, int64_t n,
                              int64_t width, float* out, int64_t out_stride) {
  int64_t r = 0;
  for (; r + kTileRows <= m; r += kTileRows)
    weighted_rows<kTileRows>(p + r * p_stride, p_stride, v, v_stride, n, width, out + r * out_stride, out_stride);
  for (; r < m; ++r)
    weighted_rows<1>(p + r * p_stride, p_stride, v, v_stride, n, width, out + r * out_stride, out_stride);
}

namespace {

[[gnu::always_inline]] inline float most_of(const float* x, int64_t n) {
  float most = std::numeric_limits<float>::lowest();
  for (int64_t i = 0; i < n; ++i) most = std::max(most, x[i]);
  return most;
}

}  // namespace

SPT_CLONES void softmax(float* x, float scale, int64_t n) {
  const float most = most_of(x, n);
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    x[i] = std::exp((x[i] - most) * scale);
    sum += x[i];
  }
  const float inverse = 1.0f / sum;
  for (int64_t i = 0; i < n; ++i) x[i] *= inverse;
}

SPT_CLONES float highest(const float* x, int64_t n) {
  return most_of(x, n);
}

SPT_CLONES float sum_of_exponentials(const float* x, float highest, int64_t n) {
  // In pieces: of a vocabulary's 10^5 terms one after the other the last ones would lose digits.
  constexpr int64_t kPiece = 1024;
  float sum = 0;
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t end = std::min(n, begin + kPiece);
    float part = 0;
    for (int64_t i = begin; i < end; ++i) part += std::exp(x[i] - highest);
    sum += part;
  }
  return sum;
}

SPT_CLONES void exponentials(float* x, float highest, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = std::exp(x[i] - highest) * factor;
}

}  // namespace spt::rows
