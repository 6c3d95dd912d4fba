// The model's weights and gradients: flat buffers, and one Parameter for each matrix a layer multiplies by.
//
// Layers declare their parameters first (arithmetic only: a 7B model costs nothing), `allocate` then binds them to
// views of the buffers, and the optimizer works on the buffers alone. The buffers are divided into buckets, one a block
// of the model: what data-parallel ranks reduce and gather at once, each owning an equal part of every bucket.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "dist/bucket.h"
#include "dist/shard.h"

namespace spt {

// One tensor of this rank. Several checkpoint tensors may be stacked in it along dim 0 (q, k and v are one product).
struct Parameter {
  std::vector<Shard> shards;
  std::vector<int64_t> shape;  // local; dim 0 may be padded beyond the shards' rows (vocabulary), pad rows stay zero
  int64_t offset = 0;          // of its first element in the flat values, once they are allocated

  at::Tensor value;  // [shape], the model's dtype
  at::Tensor grad;   // [shape], fp32 or bf16; backward passes add to it (undefined without gradients)

  int64_t numel() const;
  bool is_matrix() const { return shape.size() > 1; }
  // Elements in front of shard i.
  int64_t shard_offset(size_t i) const;
  // The view of shard i, without padding.
  at::Tensor part(size_t i, const at::Tensor& whole) const;
};

class Parameters {
 public:
  // What is added from here on lies in a bucket of its own. Those that are `transient` get their gradients one after
  // the other in a backward pass, so that they may share memory. REQUIRES: before `allocate`.
  void begin_bucket(bool transient);
  // REQUIRES: before `allocate`. The reference stays valid.
  Parameter& add(std::vector<Shard> shards, std::vector<int64_t> shape);

  // Zero-filled buffers; each bucket is padded to a multiple of `multiple`. Without `grad_dtype` no gradients. With
  // `gradient_rooms` the transient buckets take turns in so many pieces of memory; 0: each has its own.
  struct Memory {
    at::ScalarType dtype = at::kFloat;
    std::optional<at::ScalarType> grad_dtype;
    int64_t multiple = 1;
    int64_t gradient_rooms = 0;
    bool shares(bool transient) const { return gradient_rooms > 0 && transient; }
  };
  void allocate(at::Device device, const Memory& memory);

  // The length of each bucket, padding included, and what `allocate` takes; no memory yet.
  std::vector<int64_t> bucket_lengths(int64_t multiple) const;
  struct Bytes {
    int64_t values = 0, grads = 0;
  };
  Bytes bytes(const Memory& memory) const;

  const std::deque<Parameter>& list() const { return list_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }          // once allocated
  const at::Tensor& values() const { return values_; }                     // flat, the model's dtype
  const at::Tensor& grads(size_t bucket) const { return grads_[bucket]; }  // flat, of one bucket
  // Whether a bucket's gradients have memory of their own.
  bool keeps_gradients(size_t bucket) const { return !memory_.shares(is_transient(bucket)); }
  bool is_transient(size_t bucket) const { return declared_[bucket].transient; }
  int64_t numel() const;  // of this rank's real elements, without padding

 private:
  struct Declared {
    size_t first;  // parameter
    bool transient;
  };
  size_t end_of(size_t bucket) const;  // behind its last parameter
  // Elements of the gradients' memory: of buckets that keep theirs, and of one room for those that do not.
  struct GradientRoom {
    int64_t kept = 0, shared = 0;
  };
  GradientRoom gradient_room(const Memory& memory) const;
  void allocate_gradients(const GradientRoom& room);

  std::deque<Parameter> list_;
  std::vector<Declared> declared_;  // by bucket
  std::vector<Bucket> buckets_;
  Memory memory_;
  at::Tensor values_;
  std::vector<at::Tensor> grads_;  // by bucket
};

// gradient += a · b, whatever the dtypes: one product that accumulates where they are the same.
void add_product(at::Tensor gradient, const at::Tensor& a, const at::Tensor& b);
// What that takes for so many elements of the gradient: bytes.
int64_t added_product_bytes(int64_t elements, at::ScalarType product, at::ScalarType gradient, at::Device device);

}  // namespace spt
