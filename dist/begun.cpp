#include "dist/begun.h"

#include <algorithm>
#include <utility>

#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/util/Exception.h>

#include "base/add_seconds.h"
#include "dist/watchdog.h"

namespace spt {

struct Begun::State {
  std::unique_ptr<Work> work;
  CollectiveCall call;
  double* seconds;
  bool is_done = false;
};

std::vector<Begun::State*>& Begun::all() {
  thread_local std::vector<State*> begun;
  return begun;
}

Begun::Begun() = default;

Begun::Begun(std::unique_ptr<Work> work, const CollectiveCall& call, double& seconds)
    : state_(new State{std::move(work), call, &seconds}) {
  if (state_->work->needs_looks()) all().push_back(state_.get());
}

Begun::~Begun() {
  if (!state_) return;
  std::erase(all(), state_.get());
  if (!state_->is_done) (void)state_->work.release();
}

Begun::Begun(Begun&&) noexcept = default;

Begun& Begun::operator=(Begun&& other) noexcept {
  TORCH_INTERNAL_ASSERT(!state_, "a collective is dropped before it is finished");
  state_ = std::move(other.state_);
  return *this;
}

void Begun::finish() {
  if (!state_) return;
  if (!state_->is_done) {
    const at::AutoDispatchBelowADInplaceOrView outside_autograd;
    const WatchedCall watched(state_->call);
    const AddSeconds waiting(*state_->seconds);
    state_->work->wait();
    state_->is_done = true;
  }
  std::erase(all(), state_.get());
  state_.reset();
}

void advance_begun() {
  for (Begun::State* begun : Begun::all()) {
    if (begun->is_done) continue;
    const at::AutoDispatchBelowADInplaceOrView outside_autograd;
    const AddSeconds working(*begun->seconds);
    begun->is_done = begun->work->advance();
  }
}

}  // namespace spt
