// The golden files of tests/golden: what transformers computes for tiny models (see make_golden.py).
#pragma once

#include <filesystem>
#include <string>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "data/dataset.h"
#include "data/safetensors.h"
#include "trainer/model/causal_lm.h"
#include "trainer/model/pretrained.h"

namespace spt {

inline std::filesystem::path golden_folder(const std::string& name) {
  return std::filesystem::path(SPT_SOURCE_DIR) / "tests/golden" / name;
}

class Golden {
 public:
  explicit Golden(const std::string& name) : reader_(golden_folder(name) / "golden.safetensors") {}

  at::Tensor tensor(const std::string& name) const {
    at::Tensor out = at::empty(reader_.shape(name), reader_.dtype(name));
    reader_.read(name, -1, 0, 0, out);
    return out;
  }
  // Tensors PREFIXids, PREFIXstarts, PREFIXtrained.
  Batch batch(const std::string& prefix = "") const {
    const at::Tensor ids = tensor(prefix + "ids"), starts = tensor(prefix + "starts"),
                     trained = tensor(prefix + "trained");
    return make_batch(ids, starts, trained);
  }
  static Batch make_batch(const at::Tensor& ids, const at::Tensor& starts, const at::Tensor& trained) {
    at::Tensor labels = at::full_like(ids, -100);
    for (int64_t i = 0; i + 1 < starts.numel(); ++i) {
      const int64_t begin = starts[i].item<int64_t>(), end = starts[i + 1].item<int64_t>();
      for (int64_t j = begin; j + 1 < end; ++j)
        if (trained[j + 1].item<int64_t>() != 0) labels[j] = ids[j + 1];
    }
    return {ids, labels, starts.to(at::kInt)};
  }

 private:
  SafetensorsReader reader_;
};

// max |a − b|
inline double distance(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace spt
