// Collectives of CPU tensors over MPI. Only bytes travel; sums are taken here, in rank order.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <mpi.h>

#include "dist/communicator.h"
#include "dist/job_end.h"
#include "dist/scratch.h"

namespace spt {

class MpiCommunicator final : public Communicator {
 public:
  struct Limits {
    int64_t scratch_bytes = kScratchBytes;
    int64_t message_bytes = 64 << 20;  // larger tensors go in several messages; at most MPI's 2^31 − 1
  };

  // Collective; owns `comm`, which returns errors (duplicate_comm).
  MpiCommunicator(MPI_Comm comm, std::shared_ptr<JobEnd> job_end, Limits limits);
  MpiCommunicator(MPI_Comm comm, std::shared_ptr<JobEnd> job_end)
      : MpiCommunicator(comm, std::move(job_end), Limits()) {}
  ~MpiCommunicator() override;

  std::unique_ptr<Communicator> split(int color, int key) const override;

 private:
  void do_all_reduce(at::Tensor& x, Reduce op) override;
  void do_reduce_scatter(at::Tensor& out, const at::Tensor& in) override;
  void do_all_gather(at::Tensor& out, const at::Tensor& in) override;
  void do_broadcast(at::Tensor& x, int root) override;
  void do_barrier() override;

  // What goes over the wire for one piece of my block, and where the ranks' parts of it will be.
  struct Round;
  Round start_round(const std::vector<at::Tensor>& blocks, int64_t begin, int64_t step, const at::Tensor& memory);
  // Rank r reduces all ranks' `blocks[r]` (flat, any sizes); `out` is mine.
  void reduce_blocks(const at::Tensor& out, const std::vector<at::Tensor>& blocks, Reduce op);
  // Every rank sends its own block, and receives all others in place.
  void gather_blocks(const std::vector<at::Tensor>& blocks);
  void reduce_small(const at::Tensor& x, Reduce op);
  at::Tensor scratch(int64_t numel, const at::Tensor& like);

  MPI_Comm comm_;
  std::shared_ptr<JobEnd> job_end_;
  Limits limits_;
  at::Tensor scratch_;  // uint8, grows to what is needed
};

}  // namespace spt
