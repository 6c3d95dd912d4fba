// The gradients of one optimizer step, added up over backward passes and dp ranks, bucket by bucket.
//
// Whole (ZeRO stage 1): a rank keeps all gradients of its parameters, and they are reduced once, at the end of a step.
// Sharded (ZeRO stage 2, Rajbhandari et al., arXiv 1910.02054): a rank keeps what it owns of a block's gradients, in
// fp32; they are reduced in every backward pass, as soon as the block's are complete, out of memory that all blocks
// share. Those of embedding, final norm and head stay whole: they come at both ends of a pass.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "dist/communicator.h"
#include "trainer/model/parameters.h"

namespace spt {

class Gradients {
 public:
  // Of allocated parameters; how they lie says which of the two it is. `dp` must outlive it.
  Gradients(const Parameters& parameters, Communicator& dp);

  // What the constructor takes on a rank of `dp`, for parameters declared but not allocated: bytes.
  static int64_t bytes(const Parameters& parameters, const Parameters::Memory& memory, int dp);

  // Collective where sharded: a bucket's gradients of this backward pass are complete. The buckets of a pass come in
  // the same order on every rank.
  void bucket_complete(size_t bucket);
  // Collective where sharded: takes part in the reductions of a backward pass that this rank does not make.
  void skip_pass();
  // Collective: sums what is not reduced yet.
  void finish();

  // Of each bucket what this rank owns, summed over dp; from `finish` on.
  const std::vector<at::Tensor>& owned() const { return owned_; }
  void clear();

 private:
  void reduce(size_t bucket);

  const Parameters& parameters_;
  Communicator& dp_;
  std::vector<at::Tensor> owned_;  // by bucket; of a bucket that keeps its gradients a view of them
  at::Tensor received_;            // what is owned of one pass
};

}  // namespace spt
