// Training on a dp group whose begun collectives give nothing before they are finished: weights that are used, and
// gradients that are read or written, too early show in the weights that come out.
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include "tests/ranks.h"
#include "tests/trainer/golden.h"
#include "trainer/gradients.h"
#include "trainer/optim/zero_adamw.h"

namespace spt {
namespace {

// A collective whose `out` is NaN until it is finished, and whose `in` must stay as it is until then.
class LateWork final : public Begun::Work {
 public:
  LateWork(at::Tensor out, at::Tensor in, at::Tensor result)
      : out_(std::move(out)), in_(std::move(in)), result_(std::move(result)) {
    out_.fill_(std::numeric_limits<float>::quiet_NaN());
    in_before_ = in_.clone();
  }
  bool advance() override { return false; }
  void wait() override {
    EXPECT_TRUE(at::allclose(in_, in_before_, 0, 0, /*equal_nan=*/true)) << "written before it is finished";
    out_.copy_(result_);
  }

 private:
  at::Tensor out_, in_, in_before_, result_;
};

class LateCommunicator final : public Communicator {
 public:
  explicit LateCommunicator(Communicator& real) : Communicator(real.rank(), real.size(), real.device()), real_(real) {}
  std::unique_ptr<Communicator> split(int color, int key) const override { return real_.split(color, key); }

 private:
  void do_all_reduce(at::Tensor& x, Reduce op) override { real_.all_reduce(x, op); }
  void do_reduce_scatter(at::Tensor& out, const at::Tensor& in) override { real_.reduce_scatter(out, in); }
  void do_all_gather(at::Tensor& out, const at::Tensor& in) override { real_.all_gather(out, in); }
  void do_broadcast(at::Tensor& x, int root) override { real_.broadcast(x, root); }
  void do_barrier() override { real_.barrier(); }
  std::unique_ptr<Begun::Work> start_reduce_scatter(at::Tensor& out, const at::Tensor& in) override {
    const at::Tensor result = at::empty_like(out);
    real_.reduce_scatter(result, in.clone());
    return std::make_unique<LateWork>(out, in, result);
  }
  std::unique_ptr<Begun::Work> start_all_gather(at::Tensor& out, const at::Tensor& in) override {
    const at::Tensor result = at::empty_like(out);
    real_.all_gather(result, in.clone());
    return std::make_unique<LateWork>(out, in, result);
  }

  Communicator& real_;
};

// The weights after three steps of two passes each, of which rank 0 skips the second.
at::Tensor trained(Communicator& dp, Communicator& world, Communicator& tp, bool overlap, bool sharded,
                   Recompute recompute) {
  const Golden golden("llama_gqa");
  CausalLm model(load_model_config(golden_folder("llama_gqa")), 0, 1);
  model.allocate(tp, {{at::kFloat, at::kFloat, dp.size() * 64, sharded ? (overlap ? 2 : 1) : 0}, recompute});
  load_pretrained(model, golden_folder("llama_gqa"));
  Parameters& parameters = model.parameters();
  Gradients gradients(parameters, dp, overlap);
  if (sharded || overlap) model.on_bucket_complete([&](size_t bucket) { gradients.bucket_complete(bucket); });
  std::vector<Segment> segments;
  for (const Parameter& parameter : parameters.list())
    segments.push_back({parameter.offset, parameter.offset + parameter.numel(), true, 1.0});
  ZeroAdamW optimizer(parameters.values(), parameters.buckets(), segments, {}, dp, world);
  model.on_bucket_needed([&](size_t bucket) { optimizer.finish_gathering(bucket); });
  for (int step = 0; step < 3; ++step) {
    for (int pass = 0; pass < 2; ++pass) {
      if (pass == 1 && dp.rank() == 0) {
        gradients.skip_pass();
        continue;
      }
      gradients.begin_pass(pass == 1);
      const auto batch = "step" + std::to_string((2 * dp.rank() + pass + step) % 10) + ".";
      backward(model.loss_sum(golden.batch(batch), 1e-2), 1e-2);
    }
    gradients.finish();
    optimizer.step(1e-3, gradients.owned());
    gradients.clear();
  }
  optimizer.finish_gathering();
  return parameters.values().clone();
}

TEST(Overlap, WithCollectivesThatAreLateTillTheirEnd_TrainsTheSameBits) {
  Mesh mesh(job(), {});
  LateCommunicator late(*mesh.dp);
  for (const bool sharded : {false, true})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kAttention, Recompute::kBlock}) {
      const at::Tensor usual = trained(*mesh.dp, mesh.world, *mesh.tp, false, sharded, recompute);
      EXPECT_TRUE(at::isfinite(usual).all().item<bool>());
      EXPECT_TRUE(at::equal(usual, trained(late, mesh.world, *mesh.tp, true, sharded, recompute)))
          << "sharded " << sharded << ", recompute " << static_cast<int>(recompute);
    }
}

}  // namespace
}  // namespace spt
