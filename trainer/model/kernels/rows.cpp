#include "trainer/model/kernels/rows.h"

#include <cmath>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#define SPT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SPT_CLONES
#endif

namespace spt::rows {

SPT_CLONES float rms_norm(const float* __restrict x, const float* __restrict w, float eps, float* __restrict out,
                          int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const float rstd = 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * rstd * w[i];
  return rstd;
}

SPT_CLONES void rms_norm_backward(const float* __restrict g, const float* __restrict x, const float* __restrict w,
                                  float rstd, float* __restrict dx, float* __restrict dw, int64_t n) {
  float dot = 0;
  for (int64_t i = 0; i < n; ++i) dot += g[i] * w[i] * x[i];
  const float mean = dot * rstd * rstd / static_cast<float>(n);
  for (int64_t i = 0; i < n; ++i) {
    dw[i] += g[i] * x[i] * rstd;
    dx[i] = rstd * (g[i] * w[i] - x[i] * mean);
  }
}

SPT_CLONES void swiglu(const float* __restrict gate, const float* __restrict up, float* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

SPT_CLONES void swiglu_backward(const float* __restrict g, const float* __restrict gate, const float* __restrict up,
                                float* __restrict dgate, float* __restrict dup, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float sigmoid = 1.0f / (1.0f + std::exp(-gate[i]));
    const float silu = gate[i] * sigmoid;
    dup[i] = g[i] * silu;
    dgate[i] = g[i] * up[i] * (sigmoid + silu * (1.0f - sigmoid));
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

}  // namespace spt::rows
