// Element-wise chains of a decoder layer on the CPU, each in one pass over memory, row by row. They exist because ATen
// runs them operation by operation, which costs as much time as a small model's products.
//
// All pointers are fp32 rows of `n` elements (or pairs); nothing may overlap unless said so. Compiled for several
// vector widths (target_clones) with -ffast-math: sums are associated as the vector width has it.
#pragma once

#include <cstdint>

namespace spt::rows {

// out = x · rstd · w, with rstd = 1/√(mean(x²) + eps), which is returned.
float rms_norm(const float* x, const float* w, float eps, float* out, int64_t n);
// dx for upstream gradient g; adds the weight's gradient to dw.
void rms_norm_backward(const float* g, const float* x, const float* w, float rstd, float* dx, float* dw, int64_t n);

// out = silu(gate) · up
void swiglu(const float* gate, const float* up, float* out, int64_t n);
void swiglu_backward(const float* g, const float* gate, const float* up, float* dgate, float* dup, int64_t n);

// (first, second) ← (first·cos − second·sin, second·cos + first·sin), in place; `sin_sign` −1 turns back.
void rotate(float* first, float* second, const float* cos, const float* sin, float sin_sign, int64_t n);

}  // namespace spt::rows
