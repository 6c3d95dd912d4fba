// A collective that goes on while its rank computes.
//
// Over MPI little moves by itself: what was begun gets on in `advance_begun`, a look, which layers take between their
// products. A GPU's collectives go on by themselves, on a stream of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dist/heartbeat.h"

namespace spt {

class Begun {
 public:
  // What a backend makes of it.
  class Work {
   public:
    virtual ~Work() = default;
    virtual bool advance() = 0;  // as far as it goes without waiting: true once it is done
    virtual void wait() = 0;     // until it is done, or what the current stream is given next waits until it is
    virtual bool needs_looks() const { return true; }  // false: goes on by itself, `advance` is never called
  };

  // One that is done.
  Begun();
  // Finished by the thread that began it, unless it needs no looks. `work` spends its time on `seconds`, which must
  // outlive it; the watchdog knows it as `call`.
  Begun(std::unique_ptr<Work> work, const CollectiveCall& call, double& seconds);
  // One that is not finished goes on to the end of the process: others may still read and write its tensors.
  ~Begun();
  Begun(Begun&&) noexcept;
  Begun& operator=(Begun&&) noexcept;  // REQUIRES: this one is finished

  // Blocks until the result may be used. Nothing where it is done.
  void finish();

 private:
  friend void advance_begun();
  struct State;
  static std::vector<State*>& all();  // of this thread that need looks, in the order in which they were begun

  std::unique_ptr<State> state_;
};

// Over TCP a look moves about so much: what the kernel was handed at the look before.
constexpr int64_t kLookBytes = int64_t{1} << 22;

// Takes all that this thread has begun as far as it goes without waiting.
void advance_begun();

}  // namespace spt
