// Attention of one query a sequence over its cache, the places of a sequence split over blocks, whose parts are put
// together afterwards (Flash-Decoding: Dao et al. 2023).
#include <type_traits>

#include "trainer/model/kernels/cuda_attend_launch.h"
#include "trainer/model/kernels/cuda_rows.cuh"

namespace spt::cuda {
namespace {

constexpr int kWarps = 4;

struct Pair {
  float x, y;
};
// Element 2i and 2i + 1 of a head, nothing beyond its width.
template <class T>
__device__ Pair load_pair(const T* head, int i, int width) {
  if (2 * i >= width) return {0.0f, 0.0f};
  const Floats<2> both = load<2>(head + 2 * i);
  return {both.at[0], both.at[1]};
}

__device__ float warp_sum(float x) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffff, x, lanes);
  return x;
}

// The share of a part whose largest score is `own` in a sum around `most`; nothing was seen where it is -inf.
__device__ float share(float own, float most) {
  return own == -INFINITY ? 0.0f : __expf(own - most);
}

// A block: one split of one sequence, G query heads of one key head. A warp takes every fourth place; a lane has P
// pairs of each head.
template <class T, int G, int P>
__global__ void attend_kernel(CachedTokens tokens, AttendShape shape, HeadRows q, HeadRows k, HeadRows v, float scale,
                              float* __restrict__ partial) {
  extern __shared__ float shared[];  // [kWarps, G, D + 2]: most, sum, output
  const int width = shape.width, split = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y) * G;
  const int kv_head = head / (shape.heads / shape.kv_heads);
  const CachedToken token = tokens.of[blockIdx.z];
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int begin = token.first + split * AttendShape::kPlaces;
  const int end = min(token.past + 1, begin + AttendShape::kPlaces);

  Pair query[G][P], sum[G][P] = {};
  float most[G], total[G] = {};
#pragma unroll
  for (int g = 0; g < G; ++g) {
    most[g] = -INFINITY;
    const T* from = static_cast<const T*>(q.data) + token.row * q.row_stride + (head + g) * q.head_stride;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      query[g][p] = load_pair(from, lane + kWarp * p, width);
      query[g][p].x *= scale;
      query[g][p].y *= scale;
    }
  }

  T* const keys = static_cast<T*>(token.keys) + kv_head * token.head_stride;
  T* const values = static_cast<T*>(token.values) + kv_head * token.head_stride;
  for (int place = begin + warp; place < end; place += kWarps) {
    const bool is_new = place == token.past;
    const int64_t at = int64_t{place} * width;
    const T* key =
        is_new ? static_cast<const T*>(k.data) + token.row * k.row_stride + kv_head * k.head_stride : keys + at;
    const T* value =
        is_new ? static_cast<const T*>(v.data) + token.row * v.row_stride + kv_head * v.head_stride : values + at;
    Pair of_key[P], of_value[P];
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int i = lane + kWarp * p;
      of_key[p] = load_pair(key, i, width);
      of_value[p] = load_pair(value, i, width);
      if (is_new && 2 * i < width) {
        store(keys + at + 2 * i, Floats<2>{of_key[p].x, of_key[p].y});
        store(values + at + 2 * i, Floats<2>{of_value[p].x, of_value[p].y});
      }
    }
#pragma unroll
    for (int g = 0; g < G; ++g) {
      float score = 0;
#pragma unroll
      for (int p = 0; p < P; ++p) score += query[g][p].x * of_key[p].x + query[g][p].y * of_key[p].y;
      score = warp_sum(score);
      const float before = most[g];
      most[g] = fmaxf(before, score);
      const float kept = share(before, most[g]), weight = __expf(score - most[g]);
      total[g] = total[g] * kept + weight;
#pragma unroll
      for (int p = 0; p < P; ++p) {
        sum[g][p].x = sum[g][p].x * kept + weight * of_value[p].x;
        sum[g][p].y = sum[g][p].y * kept + weight * of_value[p].y;
      }
    }
  }

  const int row = width + 2;
#pragma unroll
  for (int g = 0; g < G; ++g) {
    float* mine = shared + (warp * G + g) * row;
    if (lane == 0) {
      mine[0] = most[g];
      mine[1] = total[g];
    }
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int i = 2 * (lane + kWarp * p);
      if (i >= width) continue;
      mine[2 + i] = sum[g][p].x;
      mine[3 + i] = sum[g][p].y;
    }
  }
  __syncthreads();
  for (int item = static_cast<int>(threadIdx.x); item < G * row; item += static_cast<int>(blockDim.x)) {
    const int g = item / row, column = item % row;
    float highest = -INFINITY, together = 0;
    for (int w = 0; w < kWarps; ++w) highest = fmaxf(highest, shared[(w * G + g) * row]);
    for (int w = 0; w < kWarps; ++w) {
      const float* of_warp = shared + (w * G + g) * row;
      together += of_warp[column] * share(of_warp[0], highest);
    }
    const int64_t to = (int64_t{blockIdx.z} * shape.heads + head + g) * shape.splits + split;
    partial[to * row + column] = column == 0 ? highest : together;
  }
}

// A block a head and sequence, a thread an element.
template <class T>
__global__ void combine_kernel(CachedTokens tokens, AttendShape shape, const float* __restrict__ partial,
                               T* __restrict__ out) {
  const int head = static_cast<int>(blockIdx.x), row = shape.width + 2, i = static_cast<int>(threadIdx.x);
  const float* from = partial + (int64_t{blockIdx.y} * shape.heads + head) * shape.splits * row;
  float highest = -INFINITY, total = 0, sum = 0;
  for (int split = 0; split < shape.splits; ++split) highest = fmaxf(highest, from[split * row]);
  for (int split = 0; split < shape.splits; ++split) {
    const float weight = share(from[split * row], highest);
    total += weight * from[split * row + 1];
    if (i < shape.width) sum += weight * from[split * row + 2 + i];
  }
  if (i < shape.width)
    out[(tokens.of[blockIdx.y].row * shape.heads + head) * shape.width + i] = static_cast<T>(sum / total);
}

template <class T, int G, int P>
void start(cudaStream_t stream, const CachedTokens& tokens, const AttendShape& shape, const HeadRows& q,
           const HeadRows& k, const HeadRows& v, float* partial) {
  const dim3 blocks(static_cast<unsigned>(shape.splits), static_cast<unsigned>(shape.heads / G),
                    static_cast<unsigned>(tokens.count));
  const size_t shared = sizeof(float) * kWarps * G * static_cast<size_t>(shape.width + 2);
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.width));
  attend_kernel<T, G, P><<<blocks, kWarps * kWarp, shared, stream>>>(tokens, shape, q, k, v, scale, partial);
}

template <class T, int G>
void start_group(cudaStream_t stream, const CachedTokens& tokens, const AttendShape& shape, const HeadRows& q,
                 const HeadRows& k, const HeadRows& v, float* partial) {
  switch ((shape.width + 2 * kWarp - 1) / (2 * kWarp)) {
    case 1:
      return start<T, G, 1>(stream, tokens, shape, q, k, v, partial);
    case 2:
      return start<T, G, 2>(stream, tokens, shape, q, k, v, partial);
    case 3:
      return start<T, G, 3>(stream, tokens, shape, q, k, v, partial);
    default:
      return start<T, G, 4>(stream, tokens, shape, q, k, v, partial);
  }
}

template <class T>
void start_all(cudaStream_t stream, const CachedTokens& tokens, const AttendShape& shape, const HeadRows& q,
               const HeadRows& k, const HeadRows& v, float* partial, void* out) {
  const int group = shape.heads / shape.kv_heads;
  if (group % 4 == 0)
    start_group<T, 4>(stream, tokens, shape, q, k, v, partial);
  else if (group % 3 == 0)
    start_group<T, 3>(stream, tokens, shape, q, k, v, partial);
  else if (group % 2 == 0)
    start_group<T, 2>(stream, tokens, shape, q, k, v, partial);
  else
    start_group<T, 1>(stream, tokens, shape, q, k, v, partial);
  const dim3 blocks(static_cast<unsigned>(shape.heads), static_cast<unsigned>(tokens.count));
  combine_kernel<T><<<blocks, threads_for(shape.width, 256), 0, stream>>>(tokens, shape, partial, static_cast<T*>(out));
}

}  // namespace

void launch_attend(cudaStream_t stream, Dtype dtype, const CachedTokens& tokens, const AttendShape& shape,
                   const HeadRows& q, const HeadRows& k, const HeadRows& v, float* partial, void* out) {
  if (dtype == Dtype::kFloat)
    start_all<float>(stream, tokens, shape, q, k, v, partial, out);
  else
    start_all<__nv_bfloat16>(stream, tokens, shape, q, k, v, partial, out);
}

}  // namespace spt::cuda
