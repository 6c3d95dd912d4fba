// Time that passes, and time that is added up over calls.
#pragma once

#include <chrono>

namespace spt {

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Adds the seconds it lives to `total`, which must outlive it.
class AddSeconds {
 public:
  explicit AddSeconds(double& total) : total_(total) {}
  ~AddSeconds() { total_ += seconds_since(begin_); }
  AddSeconds(const AddSeconds&) = delete;
  AddSeconds& operator=(const AddSeconds&) = delete;

 private:
  double& total_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace spt
