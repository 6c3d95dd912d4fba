// The two halves of which collectives over MPI are made, blocking or begun. Only bytes travel, between two ranks each;
// sums are taken here, in rank order.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include <mpi.h>

#include "dist/begun.h"
#include "dist/communicator.h"
#include "dist/job_end.h"

namespace spt {

// Who communicates, and how.
struct MpiGroup {
  MPI_Comm comm;
  int rank, size;
  std::shared_ptr<JobEnd> job_end;
  int64_t scratch_bytes;  // for what others send to be added
  int64_t message_bytes;  // larger tensors go in several messages; at most MPI's 2^31 − 1
};

// Messages under way; MPI keeps those of one tag between the same two ranks in order.
class Transfers {
 public:
  Transfers(const MpiGroup& group, int tag) : group_(group), tag_(tag) {}

  void receive(int from, const at::Tensor& x);
  void send(int to, const at::Tensor& x);
  bool test() { return group_.job_end->test(requests_); }
  void wait() { group_.job_end->wait(requests_); }

 private:
  const MpiGroup& group_;
  int tag_;
  std::vector<MPI_Request> requests_;
};

// Memory that is used again: one piece is kept, the largest.
class Scratch {
 public:
  at::Tensor take(int64_t bytes);  // uint8, at least so many
  void give_back(at::Tensor memory);

 private:
  at::Tensor spare_;
};

// Rank r reduces all ranks' blocks[r] (flat, any sizes, the same on all ranks); `out` is mine and may be my own block.
class ReduceWork final : public Begun::Work {
 public:
  ReduceWork(const MpiGroup& group, int tag, Scratch& scratch, at::Tensor out, std::vector<at::Tensor> blocks,
             Reduce op);
  ~ReduceWork() override;
  bool advance() override;
  void wait() override;

 private:
  struct Round {
    int64_t begin;  // in the blocks
    Transfers transfers;
    std::vector<at::Tensor> parts;  // of my block, by rank
  };
  void start_round();
  void end_round();

  const MpiGroup& group_;
  int tag_;
  Scratch& scratch_;
  at::Tensor out_;
  std::vector<at::Tensor> blocks_;
  Reduce op_;
  int64_t longest_ = 0;  // block
  int64_t step_ = 0;     // elements of a block that go in one round
  at::Tensor memory_;
  std::vector<at::Tensor> halves_;  // one is being filled while the other is added
  size_t next_half_ = 0;
  int64_t next_ = 0;  // where the next round begins
  std::deque<Round> rounds_;
};

// Every rank sends its own block, and receives all others in place.
class GatherWork final : public Begun::Work {
 public:
  GatherWork(const MpiGroup& group, int tag, std::vector<at::Tensor> blocks);
  bool advance() override { return transfers_.test(); }
  void wait() override { transfers_.wait(); }

 private:
  std::vector<at::Tensor> blocks_;
  Transfers transfers_;
};

// out = ((parts[0] + parts[1]) + parts[2]) + …, those of bf16 in fp32 and rounded once; `out` may be parts[rank], and
// the other parts may be overwritten.
void reduce_in_rank_order(at::Tensor out, std::vector<at::Tensor>& parts, int rank, Reduce op);

// The one place where counts above 2^31 − 1 are split: calls send(address, bytes) for each message that x takes.
template <class Send>
void for_each_message(const at::Tensor& x, int64_t message_bytes, const Send& send) {
  char* next = static_cast<char*>(x.data_ptr());
  for (auto left = static_cast<int64_t>(x.nbytes()); left > 0;) {
    const int64_t bytes = left < message_bytes ? left : message_bytes;
    send(next, static_cast<int>(bytes));
    next += bytes;
    left -= bytes;
  }
}

}  // namespace spt
