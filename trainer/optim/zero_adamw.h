// AdamW with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101) over a flat buffer, its state cut over dp
// (ZeRO: Rajbhandari et al., arXiv 1910.02054).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "dist/bucket.h"
#include "dist/communicator.h"

namespace spt {

// How much is cut over dp: the state, or the gradients too.
enum class ZeroStage { kState, kGradients };
inline std::vector<std::pair<std::string, ZeroStage>> enum_names(ZeroStage) {
  return {{"1", ZeroStage::kState}, {"2", ZeroStage::kGradients}};
}

// Where the state lies: with the values, or in the host's memory, where the update is made then.
enum class Offload { kNone, kCpu };
inline std::vector<std::pair<std::string, Offload>> enum_names(Offload) {
  return {{"none", Offload::kNone}, {"cpu", Offload::kCpu}};
}

enum class GradDtype { kFp32, kBf16 };
inline std::vector<std::pair<std::string, GradDtype>> enum_names(GradDtype) {
  return {{"fp32", GradDtype::kFp32}, {"bf16", GradDtype::kBf16}};
}

struct AdamWConfig {
  double lr = 1e-5;
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip_norm = 1.0;
  ZeroStage zero = ZeroStage::kState;
  GradDtype grad_dtype = GradDtype::kFp32;
  Offload offload = Offload::kNone;

  template <class F>
  void fields(F& f) {
    f("lr", lr, "peak learning rate");
    f("betas", betas, "decay rates of the two moments");
    f("eps", eps, "added to the second moment's root");
    f("weight_decay", weight_decay, "decoupled decay, of matrices only");
    f("clip_norm", clip_norm, "limit of the global gradient norm; 0 switches clipping off");
    f("zero", zero,
      "cut over dp: 1, the optimizer's state; 2, the blocks' gradients too, reduced in every backward pass");
    f("grad_dtype", grad_dtype, "in which gradients are added up over micro-batches and ranks: fp32 or bf16");
    f("offload", offload, "cpu: keep the optimizer's state in host memory and update there; the same on CPU ranks");
  }
  void validate(std::vector<std::string>& errors) const;
};

// A stretch [begin, end) of the flat buffers, outside of which is padding.
struct Segment {
  int64_t begin = 0, end = 0;
  bool decay = true;
  double norm_weight = 1.0;  // its share in the gradient norm: 1/tp for what every tp rank holds
};

// A stretch of the flat buffers that this rank owns, and where it lies in this rank's state.
struct Owned {
  int64_t begin = 0;  // in the flat buffers
  int64_t at = 0;     // in the state
  int64_t length = 0;
};

enum class AdamWState { kFirstMoment, kSecondMoment, kMaster };

class ZeroAdamW {
 public:
  // `values` (fp32 or bf16) are flat, divided into `buckets`, whose lengths dp.size() divides. `world` is dp × tp.
  //
  // State takes 8 bytes an owned parameter, and 2 more where values are bf16: the lower half of the fp32 master weight,
  // whose upper half the value is (rounded half up, the lower half signed: exact).
  //
  // With `exact_norm` the gradient norm's bits hang on no number of ranks. REQUIRES: buckets' lengths are multiples of
  // kExactBlock · dp.size() (dist/exact_sum.h).
  ZeroAdamW(at::Tensor values, const std::vector<Bucket>& buckets, const std::vector<Segment>& segments,
            AdamWConfig config, Communicator& dp, Communicator& world, bool exact_norm = false);

  // What the state takes for `owned` parameters whose values have this dtype: bytes.
  static int64_t state_bytes(int64_t owned, at::ScalarType dtype) { return owned * (dtype == at::kFloat ? 8 : 10); }
  // What a step takes on the values' device beside them, state and gradients: bytes.
  static int64_t step_bytes(int64_t owned);

  // Collective. `grads`: of each bucket what this rank owns, summed over dp, fp32 or bf16. Clips by the global norm,
  // updates what this rank owns and begins to gather the values, bucket by bucket. Where the norm or `loss` (fp64
  // scalar on the device) is not finite, values and state stay as they are; the step counts nevertheless. Returns the
  // global gradient norm before clipping (fp64 scalar on the device).
  at::Tensor step(double lr, const std::vector<at::Tensor>& grads, const std::optional<at::Tensor>& loss = {});
  // After a step, before a bucket's values, or any, are used.
  void finish_gathering(size_t bucket) { gathers_[bucket].finish(); }
  void finish_gathering();

  // What this rank owns of each bucket, in order.
  const std::vector<Owned>& owned() const { return owned_; }
  bool has_master() const { return lower_.defined(); }  // fp32 values are their own
  int64_t steps() const { return steps_; }

  // `length` elements of this rank's state from `at` on, fp32 (for checkpoints). REQUIRES: within one Owned.
  at::Tensor state(AdamWState which, int64_t at, int64_t length) const;
  void set_state(AdamWState which, int64_t at, const at::Tensor& elements);

  // After `values` were loaded from outside, the master follows them.
  void reset_master();
  // Collective: after the state was loaded from a checkpoint of step `steps`, all values follow it.
  void restored(int64_t steps);

 private:
  struct OwnedSegment {
    size_t bucket;
    int64_t begin;  // in what is owned of the bucket
    int64_t length;
    bool decay;
    double norm_weight;
  };
  at::Tensor norm_of(const std::vector<at::Tensor>& grads);
  void update(const OwnedSegment& segment, const at::Tensor& grads, double lr, const at::Tensor& factor);
  Begun begin_gathering(size_t bucket);
  int64_t in_values(int64_t at, int64_t length) const;  // where a stretch of the state lies in the flat buffers

  at::Tensor values_;
  at::Tensor m_, v_;  // fp32, of what is owned; on the values' device or the host
  at::Tensor lower_;  // int16: the master's lower half
  std::vector<Bucket> buckets_;
  std::vector<Owned> owned_;
  std::vector<OwnedSegment> segments_;
  AdamWConfig config_;
  Communicator& dp_;
  Communicator& world_;
  bool exact_norm_;
  std::vector<Begun> gathers_;  // by bucket
  int64_t steps_ = 0;
};

}  // namespace spt
