// The model's weights and gradients: two flat buffers, and one Parameter for each matrix a layer multiplies by.
//
// Layers declare their parameters first (arithmetic only: a 7B model costs nothing), `allocate` then binds them to
// views of the buffers, and the optimizer works on the buffers alone.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "dist/shard.h"

namespace spt {

// One tensor of this rank. Several checkpoint tensors may be stacked in it along dim 0 (q, k and v are one product).
struct Parameter {
  std::vector<Shard> shards;
  std::vector<int64_t> shape;  // local; dim 0 may be padded beyond the shards' rows (vocabulary), pad rows stay zero
  int64_t offset = 0;          // of its first element in the flat buffers

  at::Tensor value;  // [shape], the model's dtype
  at::Tensor grad;   // [shape], fp32; backward passes add to it (undefined without gradients)

  int64_t numel() const;
  bool is_matrix() const { return shape.size() > 1; }
  // Elements in front of shard i.
  int64_t shard_offset(size_t i) const;
  // The view of shard i, without padding.
  at::Tensor part(size_t i, const at::Tensor& whole) const;
};

class Parameters {
 public:
  // REQUIRES: before `allocate`. The reference stays valid.
  Parameter& add(std::vector<Shard> shards, std::vector<int64_t> shape);

  // Zero-filled buffers; their length is padded to a multiple of `multiple` (the optimizer's slices).
  void allocate(at::Device device, at::ScalarType dtype, bool with_gradients, int64_t multiple);

  const std::deque<Parameter>& list() const { return list_; }
  const at::Tensor& values() const { return values_; }  // flat, the model's dtype
  const at::Tensor& grads() const { return grads_; }    // flat, fp32
  int64_t numel() const;                                // of this rank's real elements, without padding

 private:
  std::deque<Parameter> list_;
  int64_t end_ = 0;
  at::Tensor values_, grads_;
};

}  // namespace spt
