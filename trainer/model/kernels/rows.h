// Element-wise chains of a decoder layer on the CPU, each in one pass over memory, row by row. They exist because ATen
// runs them operation by operation, which costs as much time as a small model's products.
//
// All pointers but those to bf16 are fp32 rows of `n` elements (or pairs); nothing may overlap unless said so. Compiled
// for several vector widths (target_clones) with -ffast-math: sums are associated as the vector width has it.
#pragma once

#include <cstdint>

namespace spt::rows {

// bf16, as its 16 bits, to fp32 and back, rounded to the nearest, ties to even; a NaN stays one.
void widen(const uint16_t* x, float* out, int64_t n);
void narrow(const float* x, uint16_t* out, int64_t n);

// out = x · rstd · w, with rstd = 1/√(mean(x²) + eps), which is returned.
float rms_norm(const float* x, const float* w, float eps, float* out, int64_t n);
// dx for upstream gradient g, plus `more` where that is not null; adds the weight's gradient to dw.
void rms_norm_backward(const float* g, const float* x, const float* w, float rstd, const float* more, float* dx,
                       float* dw, int64_t n);

// out = a + b
void add(const float* a, const float* b, float* out, int64_t n);

// out = silu(gate) · up
void swiglu(const float* gate, const float* up, float* out, int64_t n);
void swiglu_backward(const float* g, const float* gate, const float* up, float* dgate, float* dup, int64_t n);

// (first, second) ← (first·cos − second·sin, second·cos + first·sin), in place; `sin_sign` −1 turns back.
void rotate(float* first, float* second, const float* cos, const float* sin, float sin_sign, int64_t n);

// out[r][c] = Σ_i x[r][i] · w[c][i] for m rows of x and n of w, each k long; `…_stride`: from row to row. For few rows:
// the weights are read as they lie, once, where a library first packs them, which costs as much as multiplying. The
// bits of a sum hang on neither m nor n.
void dots(const float* x, int64_t x_stride, int64_t m, const float* w, int64_t w_stride, int64_t n, int64_t k,
          float* out, int64_t out_stride);
// out[r][c] = Σ_i p[r][i] · v[i][c] for m rows of p and n of v, each of v `width` long.
void weighted_sums(const float* p, int64_t p_stride, int64_t m, const float* v, int64_t v_stride, int64_t n,
                   int64_t width, float* out, int64_t out_stride);
// x ← softmax(scale · x), in place.
void softmax(float* x, float scale, int64_t n);

// max(x); the lowest number for n = 0.
float highest(const float* x, int64_t n);
// Σ exp(x − highest); REQUIRES: no element is above `highest`, as in the next.
float sum_of_exponentials(const float* x, float highest, int64_t n);
// x ← exp(x − highest) · factor, in place.
void exponentials(float* x, float highest, float factor, int64_t n);

}  // namespace spt::rows
