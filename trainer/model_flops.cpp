#include "trainer/model_flops.h"

#include <utility>

namespace spt {

double model_flops_per_token(const ModelConfig& model, int64_t parameters, double mean_length) {
  const auto width = static_cast<double>(model.heads * model.head_dim);
  return 6 * static_cast<double>(parameters) + 12 * static_cast<double>(model.layers) * width * mean_length;
}

std::optional<double> peak_bf16_flops(const std::string& device_name) {
  // As the driver names them. H100 PCIe and NVL, which are slower, have other names than the SXM's.
  constexpr std::pair<const char*, double> kPeaks[] = {
      {"A100", 312e12}, {"H100 80GB HBM3", 989e12}, {"H200", 989e12}, {"B200", 2250e12}};
  if (device_name.find("H200 NVL") != std::string::npos || device_name.find("GB200") != std::string::npos) return {};
  for (const auto& [name, peak] : kPeaks)
    if (device_name.find(name) != std::string::npos) return peak;
  return {};
}

}  // namespace spt
