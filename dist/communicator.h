// One group of ranks. Every rank of the group makes the same calls in the same order; not thread-safe.
//
// The public calls check their arguments and do nothing in a group of one; the private hooks communicate. Tensors are
// contiguous, on `device()`, the same size on every rank, and fp32, fp64, bf16, int64, int32 or uint8. Sums are taken
// in rank order, those of bf16 in fp32 and rounded once, so that they are the same bits on every rank and in every run
// (NCCL excepted: there order and rounding are NCCL's). Every call blocks until its result may be used on the current
// stream. Nothing is recorded for autograd. A wrong argument is a broken invariant, a lost rank or network a Failure.
#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "dist/begun.h"
#include "dist/heartbeat.h"

namespace spt {

enum class Reduce { kSum, kMax };

class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  at::Device device() const { return device_; }

  // For messages about collectives that hang: `kind` as "dp", a literal of at most 7 characters, and which of that
  // kind. The same on all ranks of the group.
  void set_name(const char* kind, int instance) {
    kind_ = kind;
    instance_ = instance;
  }

  // That this process has spent in calls so far; where the device works on its own, only their start.
  double seconds() const { return seconds_; }

  // In place.
  void all_reduce(at::Tensor x, Reduce op = Reduce::kSum);
  // out = my block of the sum of all ranks' `in`; in.numel() == size() * out.numel(). `out` may be in's own block of
  // this rank.
  void reduce_scatter(at::Tensor out, const at::Tensor& in);
  // out = the ranks' `in` one after another; out.numel() == size() * in.numel(). `in` may be out's own block.
  void all_gather(at::Tensor out, const at::Tensor& in);
  // The same two, that go on while this rank computes: both tensors are theirs until they are finished. All ranks begin
  // them at the same place among all their calls of this group, and finish those of reduce_scatter at the same place as
  // well. Done when they return where nothing else is made of them.
  [[nodiscard]] Begun begin_reduce_scatter(at::Tensor out, const at::Tensor& in);
  [[nodiscard]] Begun begin_all_gather(at::Tensor out, const at::Tensor& in);
  void broadcast(at::Tensor x, int root);
  void barrier();
  // Collective: the ranks that gave the same colour form a group, ordered by key.
  virtual std::unique_ptr<Communicator> split(int color, int key) const = 0;

 protected:
  Communicator(int rank, int size, at::Device device) : rank_(rank), size_(size), device_(device) {}

 private:
  virtual void do_all_reduce(at::Tensor& x, Reduce op) = 0;
  virtual void do_reduce_scatter(at::Tensor& out, const at::Tensor& in) = 0;
  virtual void do_all_gather(at::Tensor& out, const at::Tensor& in) = 0;
  virtual void do_broadcast(at::Tensor& x, int root) = 0;
  virtual void do_barrier() = 0;
  // Null: done.
  virtual std::unique_ptr<Begun::Work> start_reduce_scatter(at::Tensor& out, const at::Tensor& in);
  virtual std::unique_ptr<Begun::Work> start_all_gather(at::Tensor& out, const at::Tensor& in);

  // Of which each rank gives so many bytes.
  CollectiveCall next_call(const char* operation, size_t bytes);
  void check(const at::Tensor& x, const char* operation) const;
  void check_whole_and_part(const at::Tensor& whole, const at::Tensor& part, const char* operation) const;

  int rank_;
  int size_;
  at::Device device_;
  double seconds_ = 0;
  const char* kind_ = "";
  int instance_ = 0;
  int64_t calls_ = 0;
};

}  // namespace spt
