#include "dist/mpi_work.h"

#include <algorithm>
#include <utility>

#include <ATen/Functions.h>

#include "dist/mpi_call.h"

namespace spt {
namespace {

// Elements [begin, begin + size) of x as far as there are any.
at::Tensor piece_of(const at::Tensor& x, int64_t begin, int64_t size) {
  const int64_t first = std::min(begin, x.numel());
  return x.narrow(0, first, std::min(size, x.numel() - first));
}

void reduce_pair(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, Reduce op) {
  if (op == Reduce::kSum)
    at::add_out(out, a, b);
  else
    at::maximum_out(out, a, b);
}

}  // namespace

void reduce_in_rank_order(at::Tensor out, std::vector<at::Tensor>& parts, int rank, Reduce op) {
  if (out.scalar_type() == at::kBFloat16 && op == Reduce::kSum) {
    at::Tensor sum = parts[0].to(at::kFloat);
    for (size_t r = 1; r < parts.size(); ++r) sum.add_(parts[r]);
    out.copy_(sum);
    return;
  }
  // Until my own part is in, `out` may still hold it.
  at::Tensor so_far = parts[0];
  for (size_t r = 1; r < parts.size(); ++r) {
    at::Tensor& target = static_cast<int>(r) < rank ? parts[0] : out;
    reduce_pair(target, so_far, parts[r], op);
    so_far = target;
  }
}

void Transfers::receive(int from, const at::Tensor& x) {
  for_each_message(x, group_.message_bytes, [&](char* to, int bytes) {
    check_mpi(MPI_Irecv(to, bytes, MPI_BYTE, from, tag_, group_.comm, &requests_.emplace_back()), "MPI_Irecv");
  });
}

void Transfers::send(int to, const at::Tensor& x) {
  for_each_message(x, group_.message_bytes, [&](char* from, int bytes) {
    check_mpi(MPI_Isend(from, bytes, MPI_BYTE, to, tag_, group_.comm, &requests_.emplace_back()), "MPI_Isend");
  });
}

at::Tensor Scratch::take(int64_t bytes) {
  at::Tensor memory = std::move(spare_);
  spare_ = at::Tensor();
  return memory.defined() && memory.numel() >= bytes ? memory : at::empty({bytes}, at::kByte);
}

void Scratch::give_back(at::Tensor memory) {
  if (!spare_.defined() || spare_.numel() < memory.numel()) spare_ = std::move(memory);
}

ReduceWork::ReduceWork(const MpiGroup& group, int tag, Scratch& scratch, at::Tensor out, std::vector<at::Tensor> blocks,
                       Reduce op)
    : group_(group), tag_(tag), scratch_(scratch), out_(std::move(out)), blocks_(std::move(blocks)), op_(op) {
  for (const at::Tensor& block : blocks_) longest_ = std::max(longest_, block.numel());
  const int64_t parts = 2 * int64_t{group.size - 1};
  step_ = std::clamp<int64_t>(group.scratch_bytes / parts / out_.element_size(), 1, longest_);
  const int64_t bytes = parts * step_ * out_.element_size();
  memory_ = scratch_.take(bytes);
  halves_ = memory_.narrow(0, 0, bytes).view(out_.scalar_type()).chunk(2);
  start_round();
  start_round();
}

ReduceWork::~ReduceWork() {
  scratch_.give_back(std::move(memory_));
}

bool ReduceWork::advance() {
  while (!rounds_.empty() && rounds_.front().transfers.test()) end_round();
  return rounds_.empty();
}

void ReduceWork::wait() {
  while (!rounds_.empty()) {
    rounds_.front().transfers.wait();
    end_round();
  }
}

void ReduceWork::start_round() {
  if (next_ >= longest_) return;
  const auto block = [&](int rank) { return piece_of(blocks_[static_cast<size_t>(rank)], next_, step_); };
  const at::Tensor own = block(group_.rank), &memory = halves_[next_half_];
  Round& round =
      rounds_.emplace_back(Round{next_, Transfers(group_, tag_), std::vector<at::Tensor>(blocks_.size(), own)});
  for (int distance = 1; distance < group_.size; ++distance) {
    const int from = (group_.rank + group_.size - distance) % group_.size;
    const int to = (group_.rank + distance) % group_.size;
    at::Tensor& part = round.parts[static_cast<size_t>(from)];
    part = memory.narrow(0, step_ * (distance - 1), own.numel());
    round.transfers.receive(from, part);
    round.transfers.send(to, block(to));
  }
  next_ += step_;
  next_half_ = 1 - next_half_;
}

void ReduceWork::end_round() {
  Round& round = rounds_.front();
  const at::Tensor sum = piece_of(out_, round.begin, step_);
  if (sum.numel() > 0) reduce_in_rank_order(sum, round.parts, group_.rank, op_);
  rounds_.pop_front();
  start_round();
}

GatherWork::GatherWork(const MpiGroup& group, int tag, std::vector<at::Tensor> blocks)
    : blocks_(std::move(blocks)), transfers_(group, tag) {
  for (int distance = 1; distance < group.size; ++distance) {
    const int from = (group.rank + group.size - distance) % group.size;
    transfers_.receive(from, blocks_[static_cast<size_t>(from)]);
    transfers_.send((group.rank + distance) % group.size, blocks_[static_cast<size_t>(group.rank)]);
  }
}

}  // namespace spt
