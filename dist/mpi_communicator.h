// Collectives of CPU tensors over MPI.
#pragma once

#include <memory>
#include <utility>

#include <mpi.h>

#include "dist/communicator.h"
#include "dist/job_end.h"
#include "dist/mpi_work.h"
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

  std::unique_ptr<Begun::Work> start_reduce_scatter(at::Tensor& out, const at::Tensor& in) override;
  std::unique_ptr<Begun::Work> start_all_gather(at::Tensor& out, const at::Tensor& in) override;

  int next_tag();
  void reduce_small(const at::Tensor& x, Reduce op);

  MpiGroup group_;
  Scratch scratch_;
  int tag_ = 0;
};

}  // namespace spt
