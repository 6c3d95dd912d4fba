// What a softmax cross-entropy does with its logits, on tensors: on the CPU row by row while a row lies in the cache,
// on CUDA one pass over memory a function. Of the vocabulary a rank has some columns; between the two functions the
// ranks put their parts together.
//
// logits [N, V], fp32 or bf16, contiguous, column 0 of which is the id `begin`; labels int64 [N], ids of any rank.
// fp32 inside.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace spt {

struct SoftmaxSums {
  at::Tensor highest;  // fp32 [N], of the row
  at::Tensor sums;     // fp32 [2, N]: Σ exp(logit − highest), and the label's logit, 0 where another rank has it
};
SoftmaxSums softmax_sums(const at::Tensor& logits, const at::Tensor& labels, int64_t begin);

// logits ← scale · (exp(logit − highest) / sum − one-hot(label)), in place, from which a label of another rank takes
// nothing away. `highest` and `sum`, fp32 [N], are those of all ranks. (The exponentials are made again: kept in
// between they would cost a pass over memory more, and in bf16 be rounded twice.)
void softmax_gradient(at::Tensor logits, const at::Tensor& labels, int64_t begin, const at::Tensor& highest,
                      const at::Tensor& sum, double scale);

}  // namespace spt
