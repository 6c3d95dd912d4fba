// Work on several threads, its results in the order in which it was given.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace spt {

// One thread owns this: it gives jobs and takes results. So the results do not depend on the number of threads, and of
// several failing jobs the first one's exception is seen.
template <class Job, class Result>
class OrderedWork {
 public:
  // `work` is called from `threads` threads at once.
  OrderedWork(size_t threads, std::function<Result(Job&)> work) : work_(std::move(work)) {
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this](const std::stop_token& stop) { serve(stop); });
  }
  ~OrderedWork() {
    const std::lock_guard lock(mutex_);
    tasks_.clear();  // what nobody waits for any more; the threads end after what they have begun
  }

  bool full() const { return results_.size() >= kJobsPerThread * threads_.size(); }
  bool empty() const { return results_.empty(); }

  void push(Job job) {
    std::packaged_task<Result()> task([this, given = std::move(job)]() mutable { return work_(given); });
    results_.push_back(task.get_future());
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    wake_.notify_one();
  }

  // The oldest job's result, waited for; throws what the job threw.
  Result pop() {
    std::future<Result> oldest = std::move(results_.front());
    results_.pop_front();
    return oldest.get();
  }

 private:
  static constexpr size_t kJobsPerThread = 4;  // given and not yet taken: enough that no thread waits for the owner

  void serve(const std::stop_token& stop) {
    while (true) {
      std::unique_lock lock(mutex_);
      if (!wake_.wait(lock, stop, [this] { return !tasks_.empty(); })) return;
      std::packaged_task<Result()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::function<Result(Job&)> work_;
  std::deque<std::future<Result>> results_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<std::packaged_task<Result()>> tasks_;
  std::vector<std::jthread> threads_;  // last: they stop before the rest goes
};

}  // namespace spt
