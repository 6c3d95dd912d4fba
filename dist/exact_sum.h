// Sums that hang neither on the order of their terms nor on who adds them: of integers, that is, in fixed point.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace spt {

// Gradients: multiples of 2^-48 in int64. `terms` fp32, as many as `sums`; `largest`, fp32 and 0-dim, becomes the
// largest magnitude of a term so far, NaN where a term is none: beyond largest_term(count) the sums mean nothing.
void add_fixed_point(const at::Tensor& sums, const at::Tensor& terms, at::Tensor& largest);
// Where so many terms are added up.
double largest_term(int64_t count);
// Into fp32 `values`.
void from_fixed_point(const at::Tensor& values, const at::Tensor& sums);

// Elements whose squares are added up in fp64.
inline constexpr int64_t kExactBlock = 256;

// Of fp64 numbers, multiples of 2^-72 up to 2^54, as limbs: int64 [5] on the host, whose sums over ranks are those of
// the numbers.
class ExactSum {
 public:
  // A number beyond, or none, makes the sum NaN.
  void add(double term);
  // Σ x² by blocks of kExactBlock elements of `x`, fp32 or bf16, contiguous, times `weight`: the same however a longer
  // tensor is cut between blocks.
  void add_squares(const at::Tensor& x, double weight);

  at::Tensor limbs() const;
  static double of(const at::Tensor& limbs);

 private:
  __extension__ __int128 sum_ = 0;
  bool is_number_ = true;
};

}  // namespace spt
