// What the plan says of memory against what the program takes, counted at the allocator.
#include "trainer/model/activations.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <unordered_map>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include "tests/ranks.h"
#include "trainer/gradients.h"
#include "trainer/model/pretrained.h"
#include "trainer/optim/zero_adamw.h"

namespace spt {
namespace {

// Counts the bytes of live tensors while it is in place.
class CountingAllocator : public at::Allocator {
 public:
  static CountingAllocator& instance() {
    static CountingAllocator allocator;
    return allocator;
  }
  at::DataPtr allocate(size_t bytes) override {
    void* data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    const std::lock_guard lock(mutex_);
    sizes_[data] = static_cast<int64_t>(bytes);
    live += static_cast<int64_t>(bytes);
    peak = std::max(peak, live);
    return {data, data, &free, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &free; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }

  int64_t live = 0, peak = 0;

 private:
  static void free(void* data) {
    CountingAllocator& self = instance();
    const std::lock_guard lock(self.mutex_);
    self.live -= self.sizes_[data];
    self.sizes_.erase(data);
    std::free(data);
  }
  std::mutex mutex_;
  std::unordered_map<void*, int64_t> sizes_;
};

class Counting {
 public:
  Counting() : before_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(&CountingAllocator::instance(), kPriority); }
  ~Counting() { c10::SetCPUAllocator(before_, kPriority); }
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;

 private:
  static constexpr uint8_t kPriority = 100;
  at::Allocator* before_;
};

ModelConfig small_model() {
  ModelConfig config;
  config.model_type = "llama";
  config.vocab_size = 4000;
  config.hidden_size = 256;
  config.intermediate_size = 688;
  config.layers = 6;
  config.heads = 8;
  config.kv_heads = 4;
  config.head_dim = 32;
  config.max_positions = 2048;
  return config;
}

// Of the lengths given; of each what is behind `untrained` of its tokens is trained.
Batch batch_of(const std::vector<int64_t>& lengths, double untrained) {
  int64_t tokens = 0;
  std::vector<int32_t> starts{0};
  std::vector<int64_t> labels;
  for (const int64_t length : lengths) {
    for (int64_t i = 0; i < length; ++i)
      labels.push_back(static_cast<double>(i) < untrained * static_cast<double>(length) ? kNotTrained : i);
    tokens += length;
    starts.push_back(static_cast<int32_t>(tokens));
  }
  return {at::arange(tokens, at::kLong), at::tensor(labels, at::kLong), at::tensor(starts, at::kInt)};
}

// Where attention takes the most, not the MLP.
ModelConfig with_wide_attention() {
  ModelConfig config = small_model();
  config.heads = 32;
  config.kv_heads = 8;
  config.intermediate_size = 64;
  return config;
}

// Where the vocabulary does.
ModelConfig with_large_vocabulary() {
  ModelConfig config = small_model();
  config.vocab_size = 60'000;
  config.layers = 2;
  return config;
}

struct Model {
  const char* name;
  ModelConfig (*config)();
};
std::ostream& operator<<(std::ostream& out, const Model& model) {
  return out << model.name;
}

const Model kModels[] = {
    {"Small", small_model}, {"WideAttention", with_wide_attention}, {"LargeVocabulary", with_large_vocabulary}};

struct Way {
  const char* name;
  at::ScalarType dtype, grad_dtype;
  Recompute recompute;
  bool sequence_parallel = true;
  int64_t gradient_rooms = 0;
};
std::ostream& operator<<(std::ostream& out, const Way& way) {
  return out << way.name;
}

const std::vector<int64_t> kLengths{300, 200, 120};

const Way kWays[] = {
    {"Fp32", at::kFloat, at::kFloat, Recompute::kNone},
    {"RecomputedAttention", at::kFloat, at::kFloat, Recompute::kAttention},
    {"RecomputedBlocks", at::kFloat, at::kFloat, Recompute::kBlock},
    {"NotCutByToken", at::kFloat, at::kFloat, Recompute::kNone, false},
    {"SharedGradients", at::kFloat, at::kFloat, Recompute::kNone, true, 1},
    {"OverlappedGradients", at::kFloat, at::kFloat, Recompute::kNone, true, 2},
    {"Bf16", at::kBFloat16, at::kFloat, Recompute::kNone},
    {"Bf16RecomputedBlocks", at::kBFloat16, at::kFloat, Recompute::kBlock},
    {"Bf16AndItsGradients", at::kBFloat16, at::kBFloat16, Recompute::kNone, true, 1},
};

class PlannedBytes : public testing::TestWithParam<std::tuple<Model, Way>> {};

TEST_P(PlannedBytes, OfWeightsGradientsStateAndActivations_AreThoseThatAreTaken) {
  const auto& [of, way] = GetParam();
  const int tp_size = std::min(2, job().size());
  MeshConfig layout;
  layout.tp = tp_size;
  Mesh mesh(job(), layout);
  const ModelConfig config = of.config();
  CausalLm::Memory memory{
      {way.dtype, way.grad_dtype, 64 * mesh.dp->size(), way.gradient_rooms}, way.recompute, way.sequence_parallel};
  const Counting counting;
  CountingAllocator& counted = CountingAllocator::instance();
  auto taken = [&, before = counted.live]() mutable { return counted.live - std::exchange(before, counted.live); };

  CausalLm model(config, mesh.place.tp_rank, tp_size);
  const Parameters::Bytes bytes = model.parameters().bytes(memory.parameters);
  const int64_t of_gradients = Gradients::bytes(model.parameters(), memory.parameters, mesh.dp->size());
  int64_t owned = 0;
  for (const int64_t length : model.parameters().bucket_lengths(memory.parameters.multiple))
    owned += length / mesh.dp->size();
  EXPECT_EQ(taken(), 0) << "nothing is taken before it is asked for";

  model.parameters().allocate(at::kCPU, memory.parameters);
  EXPECT_EQ(taken(), bytes.values + bytes.grads);
  {
    const Gradients gradients(model.parameters(), *mesh.dp);
    EXPECT_EQ(taken(), of_gradients);
    const ZeroAdamW optimizer(model.parameters().values(), model.parameters().buckets(), {}, {}, *mesh.dp, mesh.world);
    EXPECT_EQ(taken(), ZeroAdamW::state_bytes(owned, way.dtype));
  }

  CausalLm trained(config, mesh.place.tp_rank, tp_size);
  trained.allocate(*mesh.tp, memory);
  Gradients gradients(trained.parameters(), *mesh.dp, way.gradient_rooms > 1);
  if (way.gradient_rooms) trained.on_bucket_complete([&](size_t bucket) { gradients.bucket_complete(bucket); });
  init_random(trained, 1);
  for (const double untrained : {0.0, 0.5, 0.99}) {  // the most is needed for the loss, or for a block
    const Batch batch = batch_of(kLengths, untrained);
    const auto pass = [&] { backward(trained.loss_sum(batch, 1e-3), 1e-3); };
    pass();  // what stays: rotary angles, the collectives' scratch memory
    counted.peak = counted.live;
    const int64_t before = counted.live;
    pass();
    const PassShape shape{batch.ids.numel(), batch.trained_tokens(), kLengths[0],
                          attended_at_once(kLengths, at::get_num_threads())};
    const ActivationBytes planned = activation_bytes(config, tp_size, at::kCPU, memory, shape);
    constexpr double kTiles = 400e3;  // what ATen's attention works in, whatever the sizes
    EXPECT_NEAR(static_cast<double>(counted.peak - before), static_cast<double>(planned.peak()),
                0.05 * static_cast<double>(planned.peak()) + kTiles)
        << untrained << " untrained";
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, PlannedBytes, testing::Combine(testing::ValuesIn(kModels), testing::ValuesIn(kWays)),
                         [](const auto& tested) {
                           return std::string(std::get<0>(tested.param).name) + std::get<1>(tested.param).name;
                         });

// By hand.
TEST(PassFlops, AreThoseOfTheProducts) {
  ModelConfig config = small_model();
  const double blocks = 6 * (256.0 * (256 + 2 * 128) + 256.0 * 256 + 3 * 256.0 * 688), head = 256.0 * 4000;
  const PassShape pass{100, 40, 100, 100};
  EXPECT_DOUBLE_EQ(pass_flops(config, 1, Recompute::kNone, pass, 0).total(), 6 * (100 * blocks + 40 * head));
  EXPECT_DOUBLE_EQ(pass_flops(config, 1, Recompute::kBlock, pass, 0).total(), 8 * 100 * blocks + 6 * 40 * head);
  EXPECT_DOUBLE_EQ(pass_flops(config, 2, Recompute::kNone, pass, 0).total(), 3 * (100 * blocks + 40 * head));
  EXPECT_DOUBLE_EQ(pass_flops(config, 1, Recompute::kNone, {}, 1e4).total(), 6 * 3.5 * 2 * 1e4 * 256);
  EXPECT_DOUBLE_EQ(attention_pairs(config, at::kFloat, at::kCPU, 100), 1e4);
  EXPECT_DOUBLE_EQ(attention_pairs(config, at::kFloat, at::kCUDA, 100), 2e4);
  config.sliding_window = 10;
  EXPECT_DOUBLE_EQ(attention_pairs(config, at::kBFloat16, at::kCUDA, 100), 10 * 190);
  EXPECT_DOUBLE_EQ(attention_pairs(config, at::kFloat, at::kCPU, 100), 2e4);
}

}  // namespace
}  // namespace spt
