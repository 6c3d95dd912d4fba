#include "dist/communicator.h"

#include <utility>

#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/util/Exception.h>

#include "base/add_seconds.h"
#include "dist/watchdog.h"

namespace spt {
namespace {

// Communication is no part of the autograd graph; this also lets it write to leaves and to inference tensors.
using OutsideAutograd = at::AutoDispatchBelowADInplaceOrView;

char* first_byte(const at::Tensor& x) {
  return static_cast<char*>(x.data_ptr());
}

// `part` is block `rank` of `whole`, or shares no memory with it.
bool is_own_block_or_apart(const at::Tensor& part, const at::Tensor& whole, int rank) {
  const char *part_begin = first_byte(part), *whole_begin = first_byte(whole);
  const auto part_bytes = static_cast<int64_t>(part.nbytes()), whole_bytes = static_cast<int64_t>(whole.nbytes());
  return part_begin == whole_begin + rank * part_bytes || part_begin + part_bytes <= whole_begin ||
         whole_begin + whole_bytes <= part_begin;
}

}  // namespace

void Communicator::check(const at::Tensor& x, const char* operation) const {
  TORCH_INTERNAL_ASSERT(x.defined() && x.is_contiguous(), operation, ": the tensor must be contiguous");
  TORCH_INTERNAL_ASSERT(x.device() == device_, operation, ": the tensor is on ", x.device(), ", the group on ",
                        device_);
  switch (x.scalar_type()) {
    case at::kFloat:
    case at::kDouble:
    case at::kBFloat16:
    case at::kLong:
    case at::kInt:
    case at::kByte:
      return;
    default:
      TORCH_INTERNAL_ASSERT(false, operation, ": no collectives of ", x.scalar_type());
  }
}

void Communicator::check_whole_and_part(const at::Tensor& whole, const at::Tensor& part, const char* operation) const {
  check(whole, operation);
  check(part, operation);
  TORCH_INTERNAL_ASSERT(whole.scalar_type() == part.scalar_type(), operation, ": ", whole.scalar_type(), " and ",
                        part.scalar_type());
  TORCH_INTERNAL_ASSERT(whole.numel() == size_ * part.numel(), operation, ": ", whole.numel(), " elements are not ",
                        size_, " × ", part.numel());
  TORCH_INTERNAL_ASSERT(is_own_block_or_apart(part, whole, rank_), operation,
                        ": the tensors overlap, but not at this rank's block");
}

CollectiveCall Communicator::next_call(const char* operation, size_t bytes) {
  return {operation, kind_, instance_, ++calls_, static_cast<int64_t>(bytes)};
}

void Communicator::all_reduce(at::Tensor x, Reduce op) {
  check(x, "all_reduce");
  if (size_ == 1 || x.numel() == 0) return;
  const OutsideAutograd guard;
  const WatchedCall watched(next_call("all_reduce", x.nbytes()));
  const AddSeconds waiting(seconds_);
  do_all_reduce(x, op);
}

void Communicator::reduce_scatter(at::Tensor out, const at::Tensor& in) {
  check_whole_and_part(in, out, "reduce_scatter");
  if (in.numel() == 0) return;
  const OutsideAutograd guard;
  if (size_ == 1) {
    if (out.data_ptr() != in.data_ptr()) out.copy_(in.view_as(out));
    return;
  }
  const WatchedCall watched(next_call("reduce_scatter", in.nbytes()));
  const AddSeconds waiting(seconds_);
  do_reduce_scatter(out, in);
}

void Communicator::all_gather(at::Tensor out, const at::Tensor& in) {
  check_whole_and_part(out, in, "all_gather");
  if (in.numel() == 0) return;
  const OutsideAutograd guard;
  if (size_ == 1) {
    if (out.data_ptr() != in.data_ptr()) out.copy_(in.view_as(out));
    return;
  }
  const WatchedCall watched(next_call("all_gather", in.nbytes()));
  const AddSeconds waiting(seconds_);
  do_all_gather(out, in);
}

Begun Communicator::begin_reduce_scatter(at::Tensor out, const at::Tensor& in) {
  if (size_ == 1 || in.numel() == 0) {
    reduce_scatter(out, in);
    return {};
  }
  check_whole_and_part(in, out, "reduce_scatter");
  const OutsideAutograd guard;
  const CollectiveCall call = next_call("reduce_scatter", in.nbytes());
  const WatchedCall watched(call);
  const AddSeconds waiting(seconds_);
  auto work = start_reduce_scatter(out, in);
  return work ? Begun(std::move(work), call, seconds_) : Begun();
}

Begun Communicator::begin_all_gather(at::Tensor out, const at::Tensor& in) {
  if (size_ == 1 || out.numel() == 0) {
    all_gather(out, in);
    return {};
  }
  check_whole_and_part(out, in, "all_gather");
  const OutsideAutograd guard;
  const CollectiveCall call = next_call("all_gather", in.nbytes());
  const WatchedCall watched(call);
  const AddSeconds waiting(seconds_);
  auto work = start_all_gather(out, in);
  return work ? Begun(std::move(work), call, seconds_) : Begun();
}

std::unique_ptr<Begun::Work> Communicator::start_reduce_scatter(at::Tensor& out, const at::Tensor& in) {
  do_reduce_scatter(out, in);
  return nullptr;
}

std::unique_ptr<Begun::Work> Communicator::start_all_gather(at::Tensor& out, const at::Tensor& in) {
  do_all_gather(out, in);
  return nullptr;
}

void Communicator::broadcast(at::Tensor x, int root) {
  check(x, "broadcast");
  TORCH_INTERNAL_ASSERT(root >= 0 && root < size_, "broadcast: root ", root, " in a group of ", size_);
  if (size_ == 1 || x.numel() == 0) return;
  const OutsideAutograd guard;
  const WatchedCall watched(next_call("broadcast", x.nbytes()));
  const AddSeconds waiting(seconds_);
  do_broadcast(x, root);
}

void Communicator::barrier() {
  if (size_ == 1) return;
  const WatchedCall watched(next_call("barrier", 0));
  const AddSeconds waiting(seconds_);
  do_barrier();
}

}  // namespace spt
