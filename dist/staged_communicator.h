// Collectives of device tensors through host memory: copied there in pieces, communicated by a group of CPU tensors,
// and copied back. For ranks that share a GPU, which NCCL refuses.
#pragma once

#include <memory>

#include "dist/communicator.h"

namespace spt {

class StagedCommunicator final : public Communicator {
 public:
  static constexpr int64_t kStageBytes = 32 << 20;  // host memory, pinned where `device` is a GPU

  StagedCommunicator(std::unique_ptr<Communicator> host, at::Device device, int64_t stage_bytes = kStageBytes);

  std::unique_ptr<Communicator> split(int color, int key) const override;

 private:
  void do_all_reduce(at::Tensor& x, Reduce op) override;
  void do_reduce_scatter(at::Tensor& out, const at::Tensor& in) override;
  void do_all_gather(at::Tensor& out, const at::Tensor& in) override;
  void do_broadcast(at::Tensor& x, int root) override;
  void do_barrier() override;

  // Host memory for `rows` × `columns` elements of the kind of `like`.
  at::Tensor stage(int64_t rows, int64_t columns, const at::Tensor& like);
  // Columns of one piece when `rows` of them are staged at a time.
  int64_t piece_elements(int64_t rows, const at::Tensor& like) const;

  std::unique_ptr<Communicator> host_;
  int64_t stage_bytes_;
  at::Tensor stage_;  // uint8, grows to what is needed
};

}  // namespace spt
