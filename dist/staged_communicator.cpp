#include "dist/staged_communicator.h"

#include <algorithm>
#include <utility>

#include <ATen/Functions.h>

namespace spt {

StagedCommunicator::StagedCommunicator(std::unique_ptr<Communicator> host, at::Device device, int64_t stage_bytes)
    : Communicator(host->rank(), host->size(), device), host_(std::move(host)), stage_bytes_(stage_bytes) {}

std::unique_ptr<Communicator> StagedCommunicator::split(int color, int key) const {
  return std::make_unique<StagedCommunicator>(host_->split(color, key), device(), stage_bytes_);
}

int64_t StagedCommunicator::piece_elements(int64_t rows, const at::Tensor& like) const {
  return std::max<int64_t>(1, stage_bytes_ / rows / like.element_size());
}

at::Tensor StagedCommunicator::stage(int64_t rows, int64_t columns, const at::Tensor& like) {
  const int64_t bytes = rows * columns * like.element_size();
  if (!stage_.defined() || stage_.numel() < bytes)
    stage_ = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(device().is_cuda()));
  return stage_.narrow(0, 0, bytes).view(like.scalar_type()).view({rows, columns});
}

void StagedCommunicator::do_all_reduce(at::Tensor& x, Reduce op) {
  for (const at::Tensor& piece : x.view({-1}).split(piece_elements(1, x))) {
    const at::Tensor staged = stage(1, piece.numel(), x)[0];
    staged.copy_(piece);
    host_->all_reduce(staged, op);
    piece.copy_(staged);
  }
}

void StagedCommunicator::do_reduce_scatter(at::Tensor& out, const at::Tensor& in) {
  const at::Tensor blocks = in.view({size(), -1}), mine = out.view({-1});
  const int64_t step = piece_elements(size(), in);
  for (int64_t begin = 0; begin < mine.numel(); begin += step) {
    const int64_t columns = std::min(step, mine.numel() - begin);
    const at::Tensor staged = stage(size(), columns, in);
    staged.copy_(blocks.narrow(1, begin, columns));
    const at::Tensor sum = staged[rank()];
    host_->reduce_scatter(sum, staged);
    mine.narrow(0, begin, columns).copy_(sum);
  }
}

void StagedCommunicator::do_all_gather(at::Tensor& out, const at::Tensor& in) {
  const at::Tensor blocks = out.view({size(), -1}), mine = in.view({-1});
  const int64_t step = piece_elements(size(), in);
  for (int64_t begin = 0; begin < mine.numel(); begin += step) {
    const int64_t columns = std::min(step, mine.numel() - begin);
    const at::Tensor staged = stage(size(), columns, in);
    const at::Tensor own = staged[rank()];
    own.copy_(mine.narrow(0, begin, columns));
    host_->all_gather(staged, own);
    blocks.narrow(1, begin, columns).copy_(staged);
  }
}

void StagedCommunicator::do_broadcast(at::Tensor& x, int root) {
  for (const at::Tensor& piece : x.view({-1}).split(piece_elements(1, x))) {
    const at::Tensor staged = stage(1, piece.numel(), x)[0];
    if (rank() == root) staged.copy_(piece);
    host_->broadcast(staged, root);
    if (rank() != root) piece.copy_(staged);
  }
}

void StagedCommunicator::do_barrier() {
  host_->barrier();
}

}  // namespace spt
