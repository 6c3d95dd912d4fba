// What a step of generation does for its one new token of each sequence: products of few rows in fp32 on the CPU, and
// one query against each cache. Libraries are made for many rows: they pack the weights first, and start a kernel for
// each sequence.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace spt {

// x [T, in] × weight [out, in] → [T, out]. Few rows in fp32 on the CPU are multiplied here, others by ATen.
at::Tensor mm_by_rows(const at::Tensor& x, const at::Tensor& weight);

// A sequence whose next token is row `row` of a batch.
struct CachedSequence {
  int64_t row;
  at::Tensor keys, values;  // [K, capacity, D]; those of the new token are written to place `past`
  int64_t first, past;      // it sees first … past
};

// q [T, H, D], k and v [T, K, D] (rows may lie apart) → the sequences' rows of out [T, H, D]; softmax(q·k/√D)·v.
// Without a sequence nothing happens. REQUIRES: can_attend_to_caches.
bool can_attend_to_caches(const at::Tensor& q);
void attend_to_caches(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const std::vector<CachedSequence>& sequences, const at::Tensor& out);

}  // namespace spt
