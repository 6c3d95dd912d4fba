#include "trainer/model/kernels/batch_invariant_mm.h"

#include <ATen/Functions.h>

#include "trainer/model/kernels/one_thread_each.h"

namespace spt {
namespace {

// Small enough that a few sequences side by side waste little, large enough for the library's inner loops.
constexpr int64_t kRows = 16, kColumns = 256;

int64_t tiles_of(int64_t size, int64_t tile) {
  return (size + tile - 1) / tile;
}

}  // namespace

at::Tensor batch_invariant_mm(const at::Tensor& x, const at::Tensor& weight) {
  const int64_t rows = x.size(0), columns = weight.size(0), row_tiles = tiles_of(rows, kRows);
  at::Tensor in = x.contiguous();
  if (rows % kRows != 0) in = at::cat({in, at::zeros({row_tiles * kRows - rows, x.size(1)}, x.options())});
  const at::Tensor transposed = weight.t();
  at::Tensor out = at::empty({row_tiles * kRows, columns}, x.options());
  const auto multiply = [&](int64_t row, int64_t column, int64_t width) {
    at::Tensor part = out.narrow(0, row, kRows).narrow(1, column, width);
    at::mm_out(part, in.narrow(0, row, kRows), transposed.narrow(1, column, width));
  };
  if (!x.is_cpu()) {
    for (int64_t row = 0; row < row_tiles; ++row) multiply(row * kRows, 0, columns);
    return out.narrow(0, 0, rows);
  }
  one_thread_each(row_tiles * tiles_of(columns, kColumns), [&](int64_t tile) {
    // Neighbours share columns of the weights: a thread reads them from memory once.
    const int64_t column = tile / row_tiles * kColumns;
    multiply(tile % row_tiles * kRows, column, std::min(kColumns, columns - column));
  });
  return out.narrow(0, 0, rows);
}

}  // namespace spt
