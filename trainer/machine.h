// A device and its place in a cluster: what a plan reckons with.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace spt {

enum class DeviceKind { kGpu, kCpu };
inline std::vector<std::pair<std::string, DeviceKind>> enum_names(DeviceKind) {
  return {{"gpu", DeviceKind::kGpu}, {"cpu", DeviceKind::kCpu}};
}

constexpr int kMostRanks = 100'000;  // that a plan is made for

struct Machine {
  std::string name;
  DeviceKind device = DeviceKind::kGpu;
  double memory_gb = 0;      // of a device; 10⁹ bytes
  double reserved_gb = 0;    // of it, for the driver's context, the libraries and the collectives' own buffers
  double bf16_tflops = 0;    // matrix products, dense, 10¹² operations a second
  double fp32_tflops = 0;    //
  double product_share = 1;  // of these that the products of a training step reach
  double step_share = 1;     // of a step's time that its products take
  double memory_gb_s = 0;    // 10⁹ bytes a second
  int devices_per_node = 1;
  double link_gb_s = 0;     // between devices of a node, one way
  double link_us = 0;       // latency
  double network_gb_s = 0;  // of a device between nodes, one way
  double network_us = 0;
  double host_link_gb_s = 0;             // between a device and its host, one way
  double host_memory_gb_s = 0;           // of the host's memory, a device's share
  std::optional<double> host_memory_gb;  // as much of it
  int threads = 1;                       // of a rank on a CPU

  bool is_cpu() const { return device == DeviceKind::kCpu; }

  template <class F>
  void fields(F& f) {
    f("device", device, "gpu, or cpu: a rank's share of a host's cores and memory");
    f("memory_gb", memory_gb, "memory of a device, 10^9 bytes");
    f("reserved_gb", reserved_gb, "of it, for context, libraries and the collectives' own buffers");
    f("bf16_tflops", bf16_tflops, "matrix products in bf16, dense");
    f("fp32_tflops", fp32_tflops, "matrix products in fp32");
    f("product_share", product_share, "share of these that a training step's products reach");
    f("step_share", step_share, "share of a step's computing time that its products take");
    f("memory_gb_s", memory_gb_s, "bandwidth of the device's memory");
    f("devices_per_node", devices_per_node, "devices of a node");
    f("link_gb_s", link_gb_s, "bandwidth between devices of a node, one way");
    f("link_us", link_us, "latency of a message within a node");
    f("network_gb_s", network_gb_s, "bandwidth of a device between nodes, one way");
    f("network_us", network_us, "latency of a message between nodes");
    f("host_link_gb_s", host_link_gb_s, "bandwidth between a device and its host, one way");
    f("host_memory_gb_s", host_memory_gb_s, "bandwidth of the host's memory, a device's share");
    f("host_memory_gb", host_memory_gb, "the host's memory, a device's share; without it nothing is compared with it");
    f("threads", threads, "of a rank on a CPU");
  }
  void validate(std::vector<std::string>& errors) const;
};

// configs/machines/NAME.yaml, or a file. Throws BadInput.
Machine load_machine(const std::string& name_or_file);

// This host's cores and memory shared by `ranks`, its products and memory timed for about a second. Warns where other
// programs took cores meanwhile.
Machine this_machine(int ranks);

}  // namespace spt
