// How a named tensor of a Hugging Face checkpoint is cut over a tp group. Loading, saving, resharding, gradient-norm
// weights and decay all read this and nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spt {

struct Shard {
  std::string name;             // as in the checkpoint: "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> global;  // the whole tensor's shape
  int64_t dim = -1;             // which dim is cut; -1: replicated over tp
  int64_t begin = 0, end = 0;   // this rank's part [begin, end) of `dim`; unused when replicated

  bool replicated() const { return dim < 0; }
  std::vector<int64_t> local() const {
    std::vector<int64_t> shape = global;
    if (dim >= 0) shape[static_cast<size_t>(dim)] = end - begin;
    return shape;
  }
  int64_t numel() const {
    int64_t n = 1;
    for (const int64_t size : local()) n *= size;
    return n;
  }
};

}  // namespace spt
