#include "dist/nccl_communicator.h"

#include <cstdlib>
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

using Stream = c10::cuda::CUDAStream;

class Event {
 public:
  Event() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(const Stream& stream) { check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  // What `stream` is given from here on waits for it.
  void hold_up(const Stream& stream) const { check_cuda(cudaStreamWaitEvent(stream, event_), "cudaStreamWaitEvent"); }
  bool passed() const { return cudaEventQuery(event_) != cudaErrorNotReady; }

 private:
  cudaEvent_t event_ = nullptr;
};

// NCCL's own handle; null in a group of one.
class NcclGroup {
 public:
  // Collective: sends NCCL's id over `host`.
  explicit NcclGroup(Communicator& host) {
    if (host.size() == 1) return;
    // Kernels of two groups (dp on a stream of its own beside tp) start in the order of the calls, which is the same on
    // all ranks: otherwise each could wait on one rank for the other one's.
    setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", /*overwrite=*/0);
    ncclUniqueId id{};
    if (host.rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    const at::Tensor bytes = at::empty({static_cast<int64_t>(sizeof(id))}, at::kByte);
    std::memcpy(bytes.data_ptr(), &id, sizeof(id));
    host.broadcast(bytes, 0);
    std::memcpy(&id, bytes.data_ptr(), sizeof(id));
    const WatchedCall watched("ncclCommInitRank");
    check_nccl(ncclCommInitRank(&comm_, host.size(), id, host.rank()), "ncclCommInitRank");
  }
  ~NcclGroup() {
    if (comm_ == nullptr) return;
    // When this rank fails, the others do not come to an orderly end.
    if (std::uncaught_exceptions() > 0)
      ncclCommAbort(comm_);
    else
      ncclCommDestroy(comm_);
  }
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  ncclComm_t handle() const { return comm_; }

  // Throws Failure for an error that came after a call had returned: a rank or its network is lost.
  void require_healthy() const {
    ncclResult_t error = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(comm_, &error), "ncclCommGetAsyncError");
    if (error != ncclSuccess)
      throw Failure(fmt::format("NCCL: {}: {}", ncclGetErrorString(error), ncclGetLastError(comm_)));
  }

 private:
  ncclComm_t comm_ = nullptr;
};

// A collective on a stream of its own, whose tensors it keeps.
class StreamWork final : public Begun::Work {
 public:
  StreamWork(at::Tensor out, at::Tensor in, const Stream& stream) : out_(std::move(out)), in_(std::move(in)) {
    // Their memory is not given to others before the stream has come this far.
    for (const at::Tensor* x : {&out_, &in_}) x->record_stream(stream.unwrap());
    done_.record(stream);
  }
  bool needs_looks() const override { return false; }
  bool advance() override { return done_.passed(); }
  void wait() override { done_.hold_up(c10::cuda::getCurrentCUDAStream()); }

 private:
  at::Tensor out_, in_;
  Event done_;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, at::Device device)
      : Communicator(host->rank(), host->size(), device),
        host_(std::move(host)),
        group_(*host_),
        side_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())) {}

  std::unique_ptr<Communicator> split(int color, int key) const override {
    return std::make_unique<NcclCommunicator>(host_->split(color, key), device());
  }

 private:
  void do_all_reduce(at::Tensor& x, Reduce op) override {
    const Stream stream = c10::cuda::getCurrentCUDAStream();
    check_nccl(ncclAllReduce(x.data_ptr(), x.data_ptr(), count(x), nccl_type(x), nccl_op(op), group_.handle(), stream),
               "ncclAllReduce");
    started("all_reduce", stream);
  }
  void do_reduce_scatter(at::Tensor& out, const at::Tensor& in) override {
    reduce_scatter_on(c10::cuda::getCurrentCUDAStream(), out, in);
  }
  void do_all_gather(at::Tensor& out, const at::Tensor& in) override {
    all_gather_on(c10::cuda::getCurrentCUDAStream(), out, in);
  }
  void do_broadcast(at::Tensor& x, int root) override {
    const Stream stream = c10::cuda::getCurrentCUDAStream();
    check_nccl(ncclBroadcast(x.data_ptr(), x.data_ptr(), count(x), nccl_type(x), root, group_.handle(), stream),
               "ncclBroadcast");
    started("broadcast", stream);
  }
  void do_barrier() override {
    check_cuda(cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream()), "cudaStreamSynchronize");
    host_->barrier();
  }

  std::unique_ptr<Begun::Work> start_reduce_scatter(at::Tensor& out, const at::Tensor& in) override {
    follow_computing();
    reduce_scatter_on(side_, out, in);
    return std::make_unique<StreamWork>(out, in, side_);
  }
  std::unique_ptr<Begun::Work> start_all_gather(at::Tensor& out, const at::Tensor& in) override {
    follow_computing();
    all_gather_on(side_, out, in);
    return std::make_unique<StreamWork>(out, in, side_);
  }

  // The side stream goes on behind what the current one has been given.
  void follow_computing() {
    computed_.record(c10::cuda::getCurrentCUDAStream());
    computed_.hold_up(side_);
  }
  void reduce_scatter_on(const Stream& stream, at::Tensor& out, const at::Tensor& in) {
    check_nccl(
        ncclReduceScatter(in.data_ptr(), out.data_ptr(), count(out), nccl_type(in), ncclSum, group_.handle(), stream),
        "ncclReduceScatter");
    started("reduce_scatter", stream);
  }
  void all_gather_on(const Stream& stream, at::Tensor& out, const at::Tensor& in) {
    check_nccl(ncclAllGather(in.data_ptr(), out.data_ptr(), count(in), nccl_type(in), group_.handle(), stream),
               "ncclAllGather");
    started("all_gather", stream);
  }
  // NCCL runs a group's operations in the order of their calls, on whichever stream: the latest is the last one done.
  void started(const char* operation, const Stream& stream) {
    latest_.record(stream);
    queue_.started(operation);
  }

  std::unique_ptr<Communicator> host_;
  NcclGroup group_;
  Stream side_;
  Event computed_, latest_;
  WatchedQueue queue_{[this] {  // last: nobody asks once the group is destroyed
    group_.require_healthy();
    return latest_.passed();
  }};
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
