#include "dist/nccl_communicator.h"

#include <cstring>
#include <exception>
#include <utility>

#include <ATen/Functions.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <nccl.h>

#include "base/error.h"
#include "dist/cuda_call.h"
#include "dist/watchdog.h"

namespace spt {
namespace {

void check_nccl(ncclResult_t result, const char* call) {
  if (result != ncclSuccess)
    throw Failure(fmt::format("{} failed: {}: {}", call, ncclGetErrorString(result), ncclGetLastError(nullptr)));
}

ncclDataType_t nccl_type(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kLong:
      return ncclInt64;
    case at::kInt:
      return ncclInt32;
    case at::kByte:
      return ncclUint8;
    default:
      TORCH_INTERNAL_ASSERT(false, "NCCL: ", x.scalar_type());
  }
}

ncclRedOp_t nccl_op(Reduce op) {
  return op == Reduce::kSum ? ncclSum : ncclMax;
}

size_t count(const at::Tensor& x) {
  return static_cast<size_t>(x.numel());
}

cudaStream_t current_stream() {
  return c10::cuda::getCurrentCUDAStream().stream();
}

class Event {
 public:
  Event() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record() { check_cuda(cudaEventRecord(event_, current_stream()), "cudaEventRecord"); }
  bool passed() const { return cudaEventQuery(event_) != cudaErrorNotReady; }

 private:
  cudaEvent_t event_ = nullptr;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, at::Device device)
      : Communicator(host->rank(), host->size(), device), host_(std::move(host)) {
    if (size() == 1) return;
    ncclUniqueId id{};
    if (rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    const at::Tensor bytes = at::empty({static_cast<int64_t>(sizeof(id))}, at::kByte);
    std::memcpy(bytes.data_ptr(), &id, sizeof(id));
    host_->broadcast(bytes, 0);
    std::memcpy(&id, bytes.data_ptr(), sizeof(id));
    const WatchedCall watched("ncclCommInitRank");
    check_nccl(ncclCommInitRank(&comm_, size(), id, rank()), "ncclCommInitRank");
  }

  ~NcclCommunicator() override {
    if (comm_ == nullptr) return;
    // When this rank fails, the others do not come to an orderly end.
    if (std::uncaught_exceptions() > 0)
      ncclCommAbort(comm_);
    else
      ncclCommDestroy(comm_);
  }

  std::unique_ptr<Communicator> split(int color, int key) const override {
    return std::make_unique<NcclCommunicator>(host_->split(color, key), device());
  }

 private:
  void do_all_reduce(at::Tensor& x, Reduce op) override {
    check_nccl(ncclAllReduce(x.data_ptr(), x.data_ptr(), count(x), nccl_type(x), nccl_op(op), comm_, current_stream()),
               "ncclAllReduce");
    started("all_reduce");
  }
  void do_reduce_scatter(at::Tensor& out, const at::Tensor& in) override {
    check_nccl(
        ncclReduceScatter(in.data_ptr(), out.data_ptr(), count(out), nccl_type(in), ncclSum, comm_, current_stream()),
        "ncclReduceScatter");
    started("reduce_scatter");
  }
  void do_all_gather(at::Tensor& out, const at::Tensor& in) override {
    check_nccl(ncclAllGather(in.data_ptr(), out.data_ptr(), count(in), nccl_type(in), comm_, current_stream()),
               "ncclAllGather");
    started("all_gather");
  }
  void do_broadcast(at::Tensor& x, int root) override {
    check_nccl(ncclBroadcast(x.data_ptr(), x.data_ptr(), count(x), nccl_type(x), root, comm_, current_stream()),
               "ncclBroadcast");
    started("broadcast");
  }
  void do_barrier() override {
    check_cuda(cudaStreamSynchronize(current_stream()), "cudaStreamSynchronize");
    host_->barrier();
  }

  void started(const char* operation) {
    latest_.record();
    queue_.started(operation);
  }

  std::unique_ptr<Communicator> host_;
  ncclComm_t comm_ = nullptr;
  Event latest_;
  WatchedQueue queue_{[this] { return latest_.passed(); }};
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host, at::Device device) {
  if (!device.is_cuda())
    throw BadInput(
        "mesh.backend is nccl, but no GPU is visible here (nvidia-smi, CUDA_VISIBLE_DEVICES); use auto or mpi");
  return std::make_unique<NcclCommunicator>(std::move(host), device);
}

std::string nccl_version() {
  int version = 0;
  check_nccl(ncclGetVersion(&version), "ncclGetVersion");
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace spt
