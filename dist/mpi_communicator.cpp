#include "dist/mpi_communicator.h"

#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include <c10/util/Exception.h>

#include "dist/mpi_call.h"

namespace spt {
namespace {

// Up to this size a message goes in one latency; above, two phases move fewer bytes.
constexpr int64_t kSmallBytes = 16 << 10;
// Up to this size of what is gathered MPI's own way takes fewer messages than one to each rank.
constexpr int64_t kSmallGatherBytes = 1 << 20;

int comm_rank(MPI_Comm comm) {
  int rank = 0;
  check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  return rank;
}

int comm_size(MPI_Comm comm) {
  int size = 0;
  check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  return size;
}

// As even as it goes: the first blocks have one element more.
std::vector<at::Tensor> cut(const at::Tensor& x, int parts) {
  const at::Tensor flat = x.view({-1});
  std::vector<at::Tensor> blocks;
  int64_t begin = 0;
  for (int part = 0; part < parts; ++part) {
    const int64_t size = flat.numel() / parts + (part < flat.numel() % parts ? 1 : 0);
    blocks.push_back(flat.narrow(0, begin, size));
    begin += size;
  }
  return blocks;
}

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm comm, std::shared_ptr<JobEnd> job_end, Limits limits)
    : Communicator(comm_rank(comm), comm_size(comm), at::kCPU),
      group_{comm, rank(), size(), std::move(job_end), limits.scratch_bytes, limits.message_bytes} {
  TORCH_INTERNAL_ASSERT(limits.message_bytes > 0 && limits.message_bytes <= std::numeric_limits<int>::max());
}

MpiCommunicator::~MpiCommunicator() {
  MPI_Comm_free(&group_.comm);
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color, int key) const {
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(group_.comm, color, key, &part), "MPI_Comm_split");
  check_mpi(MPI_Comm_set_errhandler(part, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return std::make_unique<MpiCommunicator>(part, group_.job_end, Limits{group_.scratch_bytes, group_.message_bytes});
}

// Messages of two collectives that are under way at once are told apart by it.
int MpiCommunicator::next_tag() {
  constexpr int kTags = 32768;  // that every MPI has
  tag_ = (tag_ + 1) % kTags;
  return tag_;
}

void MpiCommunicator::reduce_small(const at::Tensor& x, Reduce op) {
  const auto bytes = static_cast<int>(x.nbytes());
  at::Tensor memory = scratch_.take(int64_t{size()} * bytes);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallgather(x.data_ptr(), bytes, MPI_BYTE, memory.data_ptr(), bytes, MPI_BYTE, group_.comm, &request),
            "MPI_Iallgather");
  group_.job_end->wait(request);
  std::vector<at::Tensor> parts = memory.narrow(0, 0, int64_t{size()} * bytes).view(x.scalar_type()).chunk(size());
  reduce_in_rank_order(x, parts, rank(), op);
  scratch_.give_back(std::move(memory));
}

void MpiCommunicator::do_all_reduce(at::Tensor& x, Reduce op) {
  const auto bytes = static_cast<int64_t>(x.nbytes());
  if (bytes <= kSmallBytes && size() * bytes <= group_.scratch_bytes) return reduce_small(x.view({-1}), op);
  const std::vector<at::Tensor> blocks = cut(x, size());
  ReduceWork(group_, next_tag(), scratch_, blocks[static_cast<size_t>(rank())], blocks, op).wait();
  GatherWork(group_, next_tag(), blocks).wait();
}

std::unique_ptr<Begun::Work> MpiCommunicator::start_reduce_scatter(at::Tensor& out, const at::Tensor& in) {
  return std::make_unique<ReduceWork>(group_, next_tag(), scratch_, out.view({-1}), cut(in, size()), Reduce::kSum);
}

std::unique_ptr<Begun::Work> MpiCommunicator::start_all_gather(at::Tensor& out, const at::Tensor& in) {
  const std::vector<at::Tensor> blocks = cut(out, size());
  const at::Tensor& own = blocks[static_cast<size_t>(rank())];
  if (own.data_ptr() != in.data_ptr()) own.copy_(in.view({-1}));
  return std::make_unique<GatherWork>(group_, next_tag(), blocks);
}

void MpiCommunicator::do_reduce_scatter(at::Tensor& out, const at::Tensor& in) {
  start_reduce_scatter(out, in)->wait();
}

void MpiCommunicator::do_all_gather(at::Tensor& out, const at::Tensor& in) {
  if (static_cast<int64_t>(out.nbytes()) > kSmallGatherBytes) return start_all_gather(out, in)->wait();
  const auto bytes = static_cast<int>(in.nbytes());
  char* own = static_cast<char*>(out.data_ptr()) + int64_t{rank()} * bytes;
  if (own != in.data_ptr()) std::memcpy(own, in.data_ptr(), in.nbytes());
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out.data_ptr(), bytes, MPI_BYTE, group_.comm, &request),
            "MPI_Iallgather");
  group_.job_end->wait(request);
}

void MpiCommunicator::do_broadcast(at::Tensor& x, int root) {
  for_each_message(x, group_.message_bytes, [&](char* piece, int bytes) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibcast(piece, bytes, MPI_BYTE, root, group_.comm, &request), "MPI_Ibcast");
    group_.job_end->wait(request);
  });
}

void MpiCommunicator::do_barrier() {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(group_.comm, &request), "MPI_Ibarrier");
  group_.job_end->wait(request);
}

}  // namespace spt
