// What a forward and backward pass of CausalLm takes, from shapes alone: memory and operations.
#pragma once

#include <cstdint>

#include "trainer/model/causal_lm.h"

namespace spt {

// A micro-batch.
struct PassShape {
  int64_t tokens = 0;
  int64_t trained = 0;           // tokens that the loss asks for
  int64_t longest = 0;           // tokens of its longest example
  int64_t attended_at_once = 0;  // tokens of the examples that attention takes at once on a CPU
};

// Bytes on one rank of tp.
struct ActivationBytes {
  int64_t kept = 0;   // by all blocks at the end of the forward pass, for the backward pass
  int64_t block = 0;  // on top while a block's backward pass runs
  int64_t loss = 0;   // on top in the vocabulary product and the loss
  int64_t peak() const { return kept + (block > loss ? block : loss); }
};

// Tokens of the examples of a pass that attention takes at once with so many threads (PassShape).
int64_t attended_at_once(std::vector<int64_t> lengths, int threads);

// REQUIRES: memory.parameters.grad_dtype.
ActivationBytes activation_bytes(const ModelConfig& model, int tp, at::Device device, const CausalLm::Memory& memory,
                                 const PassShape& pass);

// Pairs of a query and a key that attention computes for an example of `length` tokens, twice over: L² where only the
// causal half is computed, more where a mask is laid over all pairs.
double attention_pairs(const ModelConfig& model, at::ScalarType dtype, at::Device device, int64_t length);

// Floating-point operations of a pass on one rank of tp, a multiply-add counted as two: matrix products and
// attention's.
struct PassFlops {
  double forward = 0, backward = 0;  // of the blocks; what is run again counts to the backward pass
  double vocabulary = 0;             // both ways
  double total() const { return forward + backward + vocabulary; }
};
// `pairs`: Σ attention_pairs over the examples.
PassFlops pass_flops(const ModelConfig& model, int tp, Recompute recompute, const PassShape& pass, double pairs);

}  // namespace spt
