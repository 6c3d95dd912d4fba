// The gradients of one optimizer step, added up over backward passes and dp ranks, bucket by bucket.
//
// Whole (ZeRO stage 1): a rank keeps all gradients of its parameters, and they are reduced once a step.
// Sharded (ZeRO stage 2, Rajbhandari et al., arXiv 1910.02054): a rank keeps what it owns of a block's gradients, in
// fp32; they are reduced in every backward pass, as soon as the block's are complete, out of memory that the blocks
// share. Those of embedding, final norm and head stay whole: they come at both ends of a pass.
//
// With overlap a bucket's reduction goes on while the gradients of the next one are computed: in every pass where they
// are sharded, in the step's last one where they are whole.
//
// Exact (run.reproducible): each pass's gradients are added to integers (dist/exact_sum.h), so that the sum hangs
// neither on the order of passes nor on who makes them. Whole, without overlap.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "dist/communicator.h"
#include "trainer/model/parameters.h"

namespace spt {

class Gradients {
 public:
  // Of allocated parameters; how they lie says which of the two it is. `dp` must outlive it. REQUIRES: with `overlap`
  // those that share memory have two rooms for it.
  Gradients(const Parameters& parameters, Communicator& dp, bool overlap = false, bool exact = false);

  // What the constructor takes on a rank of `dp`, for parameters declared but not allocated: bytes.
  static int64_t bytes(const Parameters& parameters, const Parameters::Memory& memory, int dp, bool exact = false);

  // Whether the backward pass that comes is this rank's last one of the step.
  void begin_pass(bool is_last) { is_last_pass_ = is_last; }
  // Collective where sharded, and with overlap in the last pass: a bucket's gradients of this backward pass are
  // complete. The buckets of a pass come from the last to the first.
  void bucket_complete(size_t bucket);
  // After a backward pass: exact, its gradients go into the sums.
  void end_pass();
  // Collective where sharded: takes part in the reductions of a backward pass that this rank does not make.
  void skip_pass();
  // Collective: sums what is not reduced yet. Exact, gradients are NaN where one of a pass was none; throws Failure
  // where one is too large to be added up.
  void finish();

  // Of each bucket what this rank owns, summed over dp; from `finish` on.
  const std::vector<at::Tensor>& owned() const { return owned_; }
  void clear();

 private:
  void finish_exact();
  void reduce(size_t bucket);
  void finish_reduction();

  const Parameters& parameters_;
  Communicator& dp_;
  bool overlap_;
  bool is_sharded_ = false;
  std::vector<at::Tensor> owned_;  // by bucket; of a bucket that keeps its gradients a view of them
  at::Tensor received_;            // what is owned of one pass
  bool is_last_pass_ = false;
  std::vector<at::Tensor> sums_;  // exact: int64, by bucket
  at::Tensor largest_;            // of their terms
  int64_t terms_ = 0;
  size_t whole_begun_;  // of those that keep theirs, this bucket and the ones behind it are being reduced
  // The one that goes on, if any, and its bucket.
  Begun reduction_;
  std::optional<size_t> reducing_;
};

}  // namespace spt
