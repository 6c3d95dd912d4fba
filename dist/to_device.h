// Tensors between a host and its device, without a wait for the device.
#pragma once

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

namespace c10 {
struct Event;
}

namespace spt {

// x on `device`. From the host to a GPU by pinned memory, behind what the current stream has been given: nobody waits.
at::Tensor to_device(const at::Tensor& x, at::Device device);

// Numbers that a device still computes: copied to the host behind what makes them, waited for when they are read.
class LateNumbers {
 public:
  // fp64 [n], on any device.
  explicit LateNumbers(const at::Tensor& numbers);
  std::vector<double> read() const;

 private:
  at::Tensor host_;
  std::shared_ptr<c10::Event> copied_;  // null on the CPU, where they are there
};

}  // namespace spt
