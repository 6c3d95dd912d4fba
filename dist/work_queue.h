// Portions of work, 0 … count − 1, dealt in order to the data-parallel ranks as they ask: a slow rank gets fewer, and
// none is idle while there is one left.
//
// The first rank owns the counter and answers between two pieces of its own work, whenever it comes here: no thread, no
// collective over all ranks. (A one-sided counter would make no progress over TCP while its owner computes.) Every
// other rank asks one portion ahead, so that the answer is there when it is needed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "dist/mesh.h"

namespace spt {

class WorkQueue {
 public:
  // Collective. The mesh must outlive the queue.
  WorkQueue(Runtime& runtime, const Mesh& mesh, int64_t count);
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // The next portion of this dp rank: all its tp ranks make the same calls and get the same. nullopt: there are none
  // left; without `wait` also that the answer is not here yet.
  std::optional<int64_t> take(bool wait = true);
  // Answers those who ask. To be called often while there is work; does nothing on ranks that own no counter.
  void serve();
  // This rank takes no more. The owner deals no more and comes back when no other rank will ask again.
  void close();

 private:
  struct Messages;                      // between the first tp ranks
  std::unique_ptr<Messages> messages_;  // null on other tp ranks
  const Mesh& mesh_;
  bool is_over_ = false;
};

}  // namespace spt
