// Loops over the rows of CPU tensors in fp32 or bf16, for the functions of rows.h, which take rows in fp32.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include "trainer/model/kernels/rows.h"

namespace spt::rows {

// A row as fp32: itself, or a converted copy in `scratch`.
template <class T>
const float* load(const T* row, std::vector<float>& scratch, int64_t n) {
  if constexpr (std::is_same_v<T, float>) {
    return row;
  } else {
    scratch.resize(static_cast<size_t>(n));
    widen(reinterpret_cast<const uint16_t*>(row), scratch.data(), n);
    return scratch.data();
  }
}
// The same to be changed in place and given to `store`.
template <class T>
float* load_to_change(T* row, std::vector<float>& scratch, int64_t n) {
  return const_cast<float*>(load(static_cast<const T*>(row), scratch, n));
}

// Where a row's result goes: itself, or `scratch`, from which `store` rounds it.
template <class T>
float* target(T* row, std::vector<float>& scratch, int64_t n) {
  if constexpr (std::is_same_v<T, float>) {
    return row;
  } else {
    scratch.resize(static_cast<size_t>(n));
    return scratch.data();
  }
}
template <class T>
void store(T* row, const std::vector<float>& scratch, int64_t n) {
  if constexpr (!std::is_same_v<T, float>) narrow(scratch.data(), reinterpret_cast<uint16_t*>(row), n);
}

// f(begin, end) for stretches of the rows, on all threads.
template <class F>
void for_rows(int64_t rows, int64_t row_elements, const F& f) {
  constexpr int64_t kGrainElements = 1 << 15;  // are worth another thread
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, row_elements)), f);
}

// f(a zero of x's dtype)
template <class F>
void dispatch(const at::Tensor& x, const F& f) {
  if (x.scalar_type() == at::kFloat)
    f(float{});
  else
    f(at::BFloat16{});
}

}  // namespace spt::rows
