// AdamW with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101) over flat buffers, its state cut over dp
// (ZeRO stage 1: Rajbhandari et al., arXiv 1910.02054).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "dist/communicator.h"

namespace spt {

struct AdamWConfig {
  double lr = 1e-5;
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip_norm = 1.0;

  template <class F>
  void fields(F& f) {
    f("lr", lr, "peak learning rate");
    f("betas", betas, "decay rates of the two moments");
    f("eps", eps, "added to the second moment's root");
    f("weight_decay", weight_decay, "decoupled decay, of matrices only");
    f("clip_norm", clip_norm, "limit of the global gradient norm; 0 switches clipping off");
  }
  void validate(std::vector<std::string>& errors) const;
};

// A stretch [begin, end) of the flat buffers, outside of which is padding.
struct Segment {
  int64_t begin = 0, end = 0;
  bool decay = true;
  double norm_weight = 1.0;  // its share in the gradient norm: 1/tp for what every tp rank holds
};

class ZeroAdamW {
 public:
  // `values` (fp32 or bf16) and `grads` (fp32) are flat, of the same length, which dp.size() divides; `world` is dp ×
  // tp. fp32 values are their own master: state is then 8 bytes a parameter of this rank's slice, else 12.
  ZeroAdamW(at::Tensor values, at::Tensor grads, const std::vector<Segment>& segments, AdamWConfig config,
            Communicator& dp, Communicator& world);

  // Collective. Sums the gradients over dp, clips by the global norm, updates this rank's slice, gathers the values and
  // zeroes the gradients. Returns the global gradient norm before clipping (fp64 scalar on the device).
  at::Tensor step(double lr);

  // This rank's slice [begin, end) of the flat buffers, and its fp32 state, in place (for checkpoints).
  int64_t begin() const { return begin_; }
  int64_t end() const { return begin_ + length_; }
  bool has_master() const { return master_.data_ptr() != my_values_.data_ptr(); }
  at::Tensor& master() { return master_; }  // the values themselves where they are fp32
  at::Tensor& first_moment() { return m_; }
  at::Tensor& second_moment() { return v_; }
  const at::Tensor& master() const { return master_; }
  const at::Tensor& first_moment() const { return m_; }
  const at::Tensor& second_moment() const { return v_; }
  int64_t steps() const { return steps_; }

  // After `values` were loaded from outside, the fp32 master follows them.
  void reset_master();
  // Collective: after the state was loaded from a checkpoint of step `steps`, the values follow the master.
  void restored(int64_t steps);

 private:
  void gather_values();

  at::Tensor values_, grads_;
  at::Tensor my_values_, my_grads_;  // views of this rank's slice
  at::Tensor master_, m_, v_;        // fp32 [slice]
  std::vector<Segment> segments_;    // cut to this rank's slice, relative to its begin
  AdamWConfig config_;
  Communicator& dp_;
  Communicator& world_;
  int64_t begin_ = 0, length_ = 0;
  int64_t steps_ = 0;
};

}  // namespace spt
