#include "trainer/optim/adamw_loop.h"

#include <bit>
#include <cmath>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#define SPT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SPT_CLONES
#endif

namespace spt {
namespace {

[[gnu::always_inline]] inline float from_bf16(uint16_t upper) {
  return std::bit_cast<float>(uint32_t{upper} << 16);
}
[[gnu::always_inline]] inline float widened(float x) {
  return x;
}
[[gnu::always_inline]] inline float widened(uint16_t x) {
  return from_bf16(x);
}

[[gnu::always_inline]] inline float updated(const AdamWNumbers& by, float g, float& m, float& v, float value) {
  m += by.to_first * (g - m);
  v = by.second * v + by.to_second * (g * g);
  return by.keep * value - by.step_size * (m / (std::sqrt(v) * by.root_scale + by.eps));
}

template <class Grad>
[[gnu::always_inline]] inline void update(const AdamWNumbers& by, float factor, const Grad* __restrict grad,
                                          float* __restrict m, float* __restrict v, float* __restrict value,
                                          int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) value[i] = updated(by, widened(grad[i]) * factor, m[i], v[i], value[i]);
}

// As split_master does.
template <class Grad>
[[gnu::always_inline]] inline void update_split(const AdamWNumbers& by, float factor, const Grad* __restrict grad,
                                                float* __restrict m, float* __restrict v, int16_t* __restrict upper,
                                                int16_t* __restrict lower, int64_t begin, int64_t end) {
  constexpr int32_t kNan = 0x7fc00000;
  for (int64_t i = begin; i < end; ++i) {
    const int32_t joined = int32_t{upper[i]} * (1 << 16) + lower[i];
    const float master = updated(by, widened(grad[i]) * factor, m[i], v[i], std::bit_cast<float>(joined));
    const int32_t bits = master == master ? std::bit_cast<int32_t>(master) : kNan;
    const int32_t rounded = (bits + (1 << 15)) >> 16;
    upper[i] = static_cast<int16_t>(rounded);
    lower[i] = static_cast<int16_t>(bits - rounded * (1 << 16));
  }
}

SPT_CLONES void update_fp32(const AdamWNumbers& by, float factor, const AdamWMemory& at, int64_t begin, int64_t end) {
  update(by, factor, static_cast<const float*>(at.grad), at.m, at.v, static_cast<float*>(at.value), begin, end);
}
SPT_CLONES void update_fp32_by_bf16(const AdamWNumbers& by, float factor, const AdamWMemory& at, int64_t begin,
                                    int64_t end) {
  update(by, factor, static_cast<const uint16_t*>(at.grad), at.m, at.v, static_cast<float*>(at.value), begin, end);
}
SPT_CLONES void update_bf16(const AdamWNumbers& by, float factor, const AdamWMemory& at, int64_t begin, int64_t end) {
  update_split(by, factor, static_cast<const float*>(at.grad), at.m, at.v, static_cast<int16_t*>(at.value), at.lower,
               begin, end);
}
SPT_CLONES void update_bf16_by_bf16(const AdamWNumbers& by, float factor, const AdamWMemory& at, int64_t begin,
                                    int64_t end) {
  update_split(by, factor, static_cast<const uint16_t*>(at.grad), at.m, at.v, static_cast<int16_t*>(at.value), at.lower,
               begin, end);
}

}  // namespace

void adamw_loop(const AdamWNumbers& numbers, float factor, const AdamWMemory& at, int64_t begin, int64_t end) {
  if (at.lower == nullptr)
    (at.is_grad_bf16 ? update_fp32_by_bf16 : update_fp32)(numbers, factor, at, begin, end);
  else
    (at.is_grad_bf16 ? update_bf16_by_bf16 : update_bf16)(numbers, factor, at, begin, end);
}

}  // namespace spt
