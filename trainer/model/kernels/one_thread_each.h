#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

namespace spt {

// f(i) for i in [0, count), without gradients, on all threads, each call on one, begun in this order: libraries that
// are called in it use no further threads, so their bits do not hang on how many there are.
template <class F>
void one_thread_each(int64_t count, const F& f) {
  std::atomic<int64_t> next{0};
  // A single piece would not open a parallel region, and the library would use all threads for it.
  at::parallel_for(0, std::max<int64_t>(2, at::get_num_threads()), 1, [&](int64_t /*begin*/, int64_t /*end*/) {
    const at::NoGradGuard no_grad;
    for (int64_t i = next++; i < count; i = next++) f(i);
  });
}

}  // namespace spt
