// What share of a GPU's peak a training reaches: model FLOPs utilisation (Chowdhery et al., arXiv 2204.02311, appendix
// B).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "trainer/model/model_config.h"

namespace spt {

// Operations that a token takes in a forward and backward pass: 6·N + 12·L·d·T, of N parameters, L layers and heads of
// width d in all. T, `mean_length`, is what a token's example has of tokens: Σ length² / Σ length over examples. What
// is computed a second time does not count, what a causal mask saves is not deducted.
double model_flops_per_token(const ModelConfig& model, int64_t parameters, double mean_length);

// Dense matrix products in bf16, operations a second, by the maker's data sheet; none for a GPU that is not listed.
std::optional<double> peak_bf16_flops(const std::string& device_name);

}  // namespace spt
