#include "trainer/machine.h"

#include <algorithm>
#include <chrono>
#include <fstream>

#include <ATen/Parallel.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>
#include <sched.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "data/config_file.h"
#include "data/named_config.h"
#include "trainer/model/kernels/factor.h"

namespace spt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMostThreads = 10'000;

double cpu_seconds() {
  struct timespec used {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

// Calls a second of f on all threads, over at least a third of one, without the first. Warns where other programs took
// part of the cores.
template <class F>
double rate(const char* what, const F& f) {
  constexpr double kLeastShare = 0.9;  // of the cores' time
  f();
  const auto begin = Clock::now();
  const double cpu_begin = cpu_seconds();
  int64_t calls = 0;
  double seconds = 0;
  do {
    f();
    ++calls;
    seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  } while (seconds < 1.0 / 3);
  const double share = (cpu_seconds() - cpu_begin) / (seconds * at::get_num_threads());
  if (share < kLeastShare)
    spdlog::warn("{} were timed with {:.0f}% of {} core(s): others were at work; plan again on an idle machine", what,
                 100 * share, at::get_num_threads());
  return static_cast<double>(calls) / seconds;
}

// Of the forward and backward products of a layer with a thousand tokens.
double product_tflops(at::ScalarType dtype) {
  constexpr int64_t kTokens = 1024, kIn = 768, kOut = 3072;
  const auto ones = [&](int64_t rows, int64_t columns) { return at::ones({rows, columns}, dtype); };
  const at::Tensor x = ones(kTokens, kIn), weight = ones(kOut, kIn), gradient = ones(kTokens, kOut);
  const auto calls = rate(dtype == at::kFloat ? "fp32 products" : "bf16 products", [&] {
    at::mm(factor(x), factor(weight).t());
    at::mm(factor(gradient), factor(weight));
    at::mm(factor(gradient).t(), factor(x));
  });
  return calls * 3 * 2 * static_cast<double>(kTokens * kIn * kOut) / 1e12;
}

double memory_gb_s() {
  constexpr int64_t kElements = int64_t{1} << 24;
  at::Tensor x = at::ones({kElements}, at::kFloat);
  const at::Tensor y = at::ones({kElements}, at::kFloat);
  return rate("passes over memory", [&] { x.add_(y); }) * 3 * 4 * static_cast<double>(kElements) / 1e9;
}

// What this process may have of it.
double host_memory_gb() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  double kib = 0;
  while (file >> key)
    if (key == "MemTotal:" && file >> kib) break;
  if (kib <= 0)
    throw Failure("/proc/meminfo does not say how much memory there is; describe the machine by --gpu FILE");
  double bytes = kib * 1024, limit = 0;
  if (std::ifstream cgroup("/sys/fs/cgroup/memory.max"); cgroup >> limit) bytes = std::min(bytes, limit);  // or "max"
  return bytes / 1e9;
}

int allowed_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  return sched_getaffinity(0, sizeof mask, &mask) == 0 ? std::max(1, CPU_COUNT(&mask)) : 1;
}

}  // namespace

void Machine::validate(std::vector<std::string>& errors) const {
  const auto require = [&](bool holds, const char* name, double value, const char* limit) {
    if (!holds) errors.push_back(fmt::format("{} is {}, must be {}", name, value, limit));
  };
  const auto positive = [&](const char* name, double value) {
    require(value >= 1e-6 && value <= 1e6, name, value, "1e-6 to 1e6");
  };
  positive("memory_gb", memory_gb);
  require(reserved_gb >= 0 && reserved_gb < memory_gb, "reserved_gb", reserved_gb, "at least 0 and below memory_gb");
  positive("bf16_tflops", bf16_tflops);
  positive("fp32_tflops", fp32_tflops);
  require(product_share >= 1e-3 && product_share <= 1, "product_share", product_share, "0.001 to 1");
  require(step_share >= 1e-3 && step_share <= 1, "step_share", step_share, "0.001 to 1");
  positive("memory_gb_s", memory_gb_s);
  positive("link_gb_s", link_gb_s);
  positive("network_gb_s", network_gb_s);
  positive("host_link_gb_s", host_link_gb_s);
  positive("host_memory_gb_s", host_memory_gb_s);
  if (host_memory_gb) positive("host_memory_gb", *host_memory_gb);
  require(link_us >= 0 && link_us <= 1e6, "link_us", link_us, "0 to 1e6");
  require(network_us >= 0 && network_us <= 1e6, "network_us", network_us, "0 to 1e6");
  if (threads < 1 || threads > kMostThreads)
    errors.push_back(fmt::format("threads is {}, must be 1 to {}", threads, kMostThreads));
  if (devices_per_node < 1 || devices_per_node > kMostRanks)
    errors.push_back(fmt::format("devices_per_node is {}, must be 1 to {}", devices_per_node, kMostRanks));
}

Machine load_machine(const std::string& name_or_file) {
  const std::filesystem::path file = named_config("machines", name_or_file);
  auto machine = read_fields_of<Machine>(file, load_config_values(file, {}));
  machine.name = file.stem().string();
  return machine;
}

Machine this_machine(int ranks) {
  // What a step's products reach of the products that are timed here, and their share in it (docs/performance.md).
  constexpr double kProductShare = 1.0, kStepShare = 1 / 1.2;
  const int cores = allowed_cores();
  at::set_num_threads(cores);
  Machine machine;
  machine.name = fmt::format("this machine ({} cores for {} rank(s))", cores, ranks);
  machine.threads = std::max(1, cores / ranks);
  machine.device = DeviceKind::kCpu;
  machine.memory_gb = host_memory_gb() / ranks;
  machine.reserved_gb = std::min(0.3, machine.memory_gb / 2);  // program, libraries, MPI
  machine.bf16_tflops = product_tflops(at::kBFloat16) / ranks;
  machine.fp32_tflops = product_tflops(at::kFloat) / ranks;
  machine.product_share = kProductShare;
  machine.step_share = kStepShare;
  machine.memory_gb_s = memory_gb_s() / ranks;
  machine.devices_per_node = ranks;
  machine.host_link_gb_s = machine.host_memory_gb_s = machine.memory_gb_s;
  // A message is written into memory that both see, and read.
  machine.link_gb_s = machine.network_gb_s = machine.memory_gb_s / 4;
  machine.link_us = machine.network_us = 10;
  return machine;
}

}  // namespace spt
