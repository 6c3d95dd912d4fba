// The update on pointers, compiled for several vector widths (target_clones).
#pragma once

#include <cstdint>

#include "trainer/optim/adamw.h"

namespace spt {

struct AdamWMemory {
  const void* grad;
  float *m, *v;
  void* value;
  int16_t* lower;  // null: value is fp32, otherwise bf16
  bool is_grad_bf16;
};
void adamw_loop(const AdamWNumbers& numbers, float factor, const AdamWMemory& at, int64_t begin, int64_t end);

}  // namespace spt
