#include "dist/work_queue.h"

#include <chrono>
#include <thread>

#include <ATen/ops/full.h>

#include "dist/job_end.h"
#include "dist/mpi_call.h"

namespace spt {
namespace {

constexpr int kToOwner = 0, kToRank = 1;  // tags
constexpr int64_t kNoneLeft = -1, kNotYet = -2;

// The first tp ranks of all dp ranks, by dp rank; MPI_COMM_NULL on the others.
MPI_Comm askers(const Mesh& mesh) {
  MPI_Comm comm = MPI_COMM_NULL;
  const int color = mesh.place.tp_rank == 0 ? 0 : MPI_UNDEFINED;
  check_mpi(MPI_Comm_split(MPI_COMM_WORLD, color, mesh.place.dp_rank, &comm), "MPI_Comm_split");
  if (comm != MPI_COMM_NULL) check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return comm;
}

}  // namespace

// A question is the asking rank, a farewell its complement; an answer is a portion or kNoneLeft.
struct WorkQueue::Messages {
  Messages(MPI_Comm group, std::shared_ptr<JobEnd> end, int64_t portions)
      : comm(group), job_end(std::move(end)), count(portions) {
    check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
    open = size - 1;
    if (!is_owner())
      ask();
    else if (open > 0)
      listen();
  }
  ~Messages() { MPI_Comm_free(&comm); }
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  bool is_owner() const { return rank == 0; }

  void send(int64_t number, int to, int tag) const {
    check_mpi(MPI_Send(&number, 1, MPI_INT64_T, to, tag, comm), "MPI_Send");
  }
  void receive(int from, int tag) {
    check_mpi(MPI_Irecv(&incoming, 1, MPI_INT64_T, from, tag, comm, &request), "MPI_Irecv");
  }
  // Whether `incoming` is here.
  bool arrived(bool wait) {
    if (wait) {
      job_end->wait(request);
      request = MPI_REQUEST_NULL;
      return true;
    }
    int done = 0;
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    return done != 0;
  }

  void ask() {
    receive(0, kToRank);
    send(rank, 0, kToOwner);
  }
  int64_t take(bool wait) {
    if (is_owner()) {
      serve(false);
      return next < count ? next++ : kNoneLeft;
    }
    if (!arrived(wait)) return kNotYet;
    const int64_t portion = incoming;
    if (portion != kNoneLeft) ask();
    return portion;
  }

  void listen() { receive(MPI_ANY_SOURCE, kToOwner); }
  void serve(bool wait) {
    while (open > 0 && arrived(wait)) {
      const int64_t from = incoming;
      if (from >= 0) {
        const int64_t portion = next < count ? next++ : kNoneLeft;
        send(portion, static_cast<int>(from), kToRank);
        if (portion == kNoneLeft) --open;
      } else {
        --open;
      }
      if (open > 0) listen();
    }
  }

  void close(bool was_told_the_end) {
    if (is_owner()) {
      count = next;
      serve(true);
    } else if (!was_told_the_end) {
      arrived(true);
      if (incoming != kNoneLeft) send(~int64_t{rank}, 0, kToOwner);
    }
  }

  MPI_Comm comm;
  std::shared_ptr<JobEnd> job_end;
  int rank = 0, size = 1;
  int64_t incoming = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  // The owner's.
  int64_t next = 0, count;
  int open = 0;  // ranks that may ask again
};

WorkQueue::WorkQueue(Runtime& runtime, const Mesh& mesh, int64_t count) : mesh_(mesh) {
  if (const MPI_Comm comm = askers(mesh); comm != MPI_COMM_NULL)
    messages_ = std::make_unique<Messages>(comm, runtime.job_end(), count);
}

WorkQueue::~WorkQueue() = default;

std::optional<int64_t> WorkQueue::take(bool wait) {
  if (is_over_) return std::nullopt;
  int64_t portion = kNotYet;
  if (mesh_.tp->size() == 1) {
    portion = messages_->take(wait);
  } else {
    // The others of the model may not sit in one collective, which is watched, for as long as the owner computes.
    constexpr auto kPause = std::chrono::milliseconds(5);
    while (true) {
      if (messages_) portion = messages_->take(false);
      const at::Tensor mine = at::full({1}, portion, at::TensorOptions(at::kLong).device(mesh_.tp->device()));
      mesh_.tp->broadcast(mine, 0);
      portion = mine.item<int64_t>();
      if (!wait || portion != kNotYet) break;
      std::this_thread::sleep_for(kPause);
    }
  }
  is_over_ = portion == kNoneLeft;
  return portion >= 0 ? std::optional(portion) : std::nullopt;
}

void WorkQueue::serve() {
  if (messages_ && messages_->is_owner()) messages_->serve(false);
}

void WorkQueue::close() {
  if (messages_) messages_->close(is_over_);
  is_over_ = true;
}

}  // namespace spt
