// The next thing is read while this one is used.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <utility>

namespace spt {

template <class T>
class ReadAhead {
 public:
  // `read(i)` is called from one thread at a time, which is not the caller's; it must depend on i alone. Numbers run to
  // `end`, which is not read.
  ReadAhead(std::function<T(int64_t)> read, int64_t end) : read_(std::move(read)), end_(end) {}

  // What read(i) gives, or throws; begins read(i + 1). Calls with i, i + 1, … wait only for what is not yet read.
  T take(int64_t i) {
    if (!next_.valid() || next_number_ != i) start(i);
    T taken = next_.get();
    if (i + 1 < end_) start(i + 1);
    return taken;
  }

 private:
  void start(int64_t i) {
    if (next_.valid()) next_.wait();
    next_number_ = i;
    next_ = std::async(std::launch::async, read_, i);
  }

  std::function<T(int64_t)> read_;
  int64_t end_;
  int64_t next_number_ = 0;
  std::future<T> next_;  // its destructor waits
};

}  // namespace spt
