#include "dist/mpi_communicator.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include <ATen/Functions.h>
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

// out = ((parts[0] + parts[1]) + parts[2]) + …; `out` may be parts[rank], and the other parts may be overwritten.
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

// The one place where counts above 2^31 − 1 are split: calls send(address, bytes) for each message that x takes.
template <class Send>
void for_each_message(const at::Tensor& x, int64_t message_bytes, const Send& send) {
  char* next = static_cast<char*>(x.data_ptr());
  for (auto left = static_cast<int64_t>(x.nbytes()); left > 0;) {
    const int64_t bytes = std::min(left, message_bytes);
    send(next, static_cast<int>(bytes));
    next += bytes;
    left -= bytes;
  }
}

// Point-to-point messages under way; MPI keeps those between the same two ranks in order.
class Transfers {
 public:
  Transfers(MPI_Comm comm, int64_t message_bytes) : comm_(comm), message_bytes_(message_bytes) {}

  void receive(int from, const at::Tensor& x) {
    for_each_message(x, message_bytes_, [&](char* to, int bytes) {
      check_mpi(MPI_Irecv(to, bytes, MPI_BYTE, from, 0, comm_, &requests_.emplace_back()), "MPI_Irecv");
    });
  }
  void send(int to, const at::Tensor& x) {
    for_each_message(x, message_bytes_, [&](char* from, int bytes) {
      check_mpi(MPI_Isend(from, bytes, MPI_BYTE, to, 0, comm_, &requests_.emplace_back()), "MPI_Isend");
    });
  }
  void finish(JobEnd& job_end) { job_end.wait(requests_); }

 private:
  MPI_Comm comm_;
  int64_t message_bytes_;
  std::vector<MPI_Request> requests_;
};

}  // namespace

struct MpiCommunicator::Round {
  Transfers transfers;
  std::vector<at::Tensor> parts;  // by rank
};

MpiCommunicator::MpiCommunicator(MPI_Comm comm, std::shared_ptr<JobEnd> job_end, Limits limits)
    : Communicator(comm_rank(comm), comm_size(comm), at::kCPU),
      comm_(comm),
      job_end_(std::move(job_end)),
      limits_(limits) {
  TORCH_INTERNAL_ASSERT(limits.message_bytes > 0 && limits.message_bytes <= std::numeric_limits<int>::max());
}

MpiCommunicator::~MpiCommunicator() {
  MPI_Comm_free(&comm_);
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color, int key) const {
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(comm_, color, key, &part), "MPI_Comm_split");
  check_mpi(MPI_Comm_set_errhandler(part, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return std::make_unique<MpiCommunicator>(part, job_end_, limits_);
}

at::Tensor MpiCommunicator::scratch(int64_t numel, const at::Tensor& like) {
  const int64_t bytes = numel * like.element_size();
  if (!scratch_.defined() || scratch_.numel() < bytes) scratch_ = at::empty({bytes}, at::kByte);
  return scratch_.narrow(0, 0, bytes).view(like.scalar_type());
}

MpiCommunicator::Round MpiCommunicator::start_round(const std::vector<at::Tensor>& blocks, int64_t begin, int64_t step,
                                                    const at::Tensor& memory) {
  const at::Tensor own = piece_of(blocks[static_cast<size_t>(rank())], begin, step);
  Round round{Transfers(comm_, limits_.message_bytes), std::vector<at::Tensor>(blocks.size(), own)};
  for (int distance = 1; distance < size(); ++distance) {
    const int from = (rank() + size() - distance) % size();
    const int to = (rank() + distance) % size();
    at::Tensor& part = round.parts[static_cast<size_t>(from)];
    part = memory.narrow(0, step * (distance - 1), own.numel());
    round.transfers.receive(from, part);
    round.transfers.send(to, piece_of(blocks[static_cast<size_t>(to)], begin, step));
  }
  return round;
}

void MpiCommunicator::reduce_blocks(const at::Tensor& out, const std::vector<at::Tensor>& blocks, Reduce op) {
  int64_t longest = 0;
  for (const at::Tensor& block : blocks) longest = std::max(longest, block.numel());
  // One half of the memory is being filled while the other is added.
  const int64_t parts = 2 * int64_t{size() - 1};
  const int64_t step = std::clamp<int64_t>(limits_.scratch_bytes / parts / out.element_size(), 1, longest);
  const std::vector<at::Tensor> halves = scratch(parts * step, out).chunk(2);

  std::optional<Round> current = start_round(blocks, 0, step, halves[0]);
  for (int64_t begin = 0, half = 1; begin < longest; begin += step, half = 1 - half) {
    std::optional<Round> next;
    if (begin + step < longest) next = start_round(blocks, begin + step, step, halves[static_cast<size_t>(half)]);
    current->transfers.finish(*job_end_);
    const at::Tensor sum = piece_of(out, begin, step);
    if (sum.numel() > 0) reduce_in_rank_order(sum, current->parts, rank(), op);
    current = std::move(next);
  }
}

void MpiCommunicator::gather_blocks(const std::vector<at::Tensor>& blocks) {
  Transfers transfers(comm_, limits_.message_bytes);
  for (int distance = 1; distance < size(); ++distance) {
    const int from = (rank() + size() - distance) % size();
    transfers.receive(from, blocks[static_cast<size_t>(from)]);
    transfers.send((rank() + distance) % size(), blocks[static_cast<size_t>(rank())]);
  }
  transfers.finish(*job_end_);
}

void MpiCommunicator::reduce_small(const at::Tensor& x, Reduce op) {
  const at::Tensor all = scratch(size() * x.numel(), x);
  const auto bytes = static_cast<int>(x.nbytes());
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallgather(x.data_ptr(), bytes, MPI_BYTE, all.data_ptr(), bytes, MPI_BYTE, comm_, &request),
            "MPI_Iallgather");
  job_end_->wait(request);
  std::vector<at::Tensor> parts = all.chunk(size());
  reduce_in_rank_order(x, parts, rank(), op);
}

void MpiCommunicator::do_all_reduce(at::Tensor& x, Reduce op) {
  const auto bytes = static_cast<int64_t>(x.nbytes());
  if (bytes <= kSmallBytes && size() * bytes <= limits_.scratch_bytes) return reduce_small(x.view({-1}), op);
  const std::vector<at::Tensor> blocks = cut(x, size());
  reduce_blocks(blocks[static_cast<size_t>(rank())], blocks, op);
  gather_blocks(blocks);
}

void MpiCommunicator::do_reduce_scatter(at::Tensor& out, const at::Tensor& in) {
  reduce_blocks(out.view({-1}), cut(in, size()), Reduce::kSum);
}

void MpiCommunicator::do_all_gather(at::Tensor& out, const at::Tensor& in) {
  const std::vector<at::Tensor> blocks = cut(out, size());
  const at::Tensor& own = blocks[static_cast<size_t>(rank())];
  if (own.data_ptr() != in.data_ptr()) own.copy_(in.view({-1}));
  if (static_cast<int64_t>(out.nbytes()) <= kSmallGatherBytes) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out.data_ptr(), static_cast<int>(own.nbytes()),
                             MPI_BYTE, comm_, &request),
              "MPI_Iallgather");
    job_end_->wait(request);
    return;
  }
  gather_blocks(blocks);
}

void MpiCommunicator::do_broadcast(at::Tensor& x, int root) {
  for_each_message(x, limits_.message_bytes, [&](char* piece, int bytes) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibcast(piece, bytes, MPI_BYTE, root, comm_, &request), "MPI_Ibcast");
    job_end_->wait(request);
  });
}

void MpiCommunicator::do_barrier() {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(comm_, &request), "MPI_Ibarrier");
  job_end_->wait(request);
}

}  // namespace spt
