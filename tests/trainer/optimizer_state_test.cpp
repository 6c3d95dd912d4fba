#include "trainer/optimizer_state.h"

#include <fstream>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>

#include "tests/ranks.h"
#include "tests/trainer/golden.h"
#include "tests/trainer/messages.h"
#include "tests/trainer/shared_folder.h"

namespace spt {
namespace {

using testing::HasSubstr;

std::vector<std::pair<int64_t, int64_t>> pairs(const std::vector<Run>& runs) {
  std::vector<std::pair<int64_t, int64_t>> out;
  for (const Run& run : runs) out.emplace_back(run.begin, run.length);
  return out;
}

TEST(RunsOf, WhatIsWholeOrCutByRows_IsOneRun) {
  using Expected = std::vector<std::pair<int64_t, int64_t>>;
  EXPECT_EQ(pairs(runs_of({"norm", {10}}, 2, 7)), (Expected{{2, 5}}));
  EXPECT_EQ(pairs(runs_of({"whole", {4, 5}}, 3, 20)), (Expected{{3, 17}}));
  EXPECT_EQ(pairs(runs_of({"rows", {8, 5}, 0, 2, 4}, 0, 10)), (Expected{{10, 10}}));
  EXPECT_EQ(pairs(runs_of({"rows", {8, 5}, 0, 2, 4}, 3, 9)), (Expected{{13, 6}}));
}

TEST(RunsOf, ColumnsAreOneRunARow) {
  using Expected = std::vector<std::pair<int64_t, int64_t>>;
  const Shard columns{"columns", {3, 8}, 1, 2, 6};  // local [3, 4]
  EXPECT_EQ(pairs(runs_of(columns, 0, 12)), (Expected{{2, 4}, {10, 4}, {18, 4}}));
  EXPECT_EQ(pairs(runs_of(columns, 3, 9)), (Expected{{5, 1}, {10, 4}, {18, 1}}));
  EXPECT_EQ(pairs(runs_of(columns, 5, 7)), (Expected{{11, 2}}));
}

// One layout's model and optimizer. The golden Mistral: tp 1, 2 and 4 divide its heads, none divides its vocabulary of
// 1,003.
struct Replica {
  Replica(int tp, at::ScalarType dtype)
      : mesh(job(), {.tp = tp}), model(load_model_config(golden_folder("mistral")), mesh.place.tp_rank, tp) {
    model.allocate(*mesh.tp, {{dtype, at::kFloat, mesh.dp->size() * 64}});
    optimizer = make_optimizer(model.parameters(), {}, mesh);
  }

  // A number for each element of the whole model, cut as this rank owns it: exact in fp32, another for each tensor.
  std::vector<at::Tensor> expected(double factor) const {  // by bucket
    at::Tensor flat = at::zeros({model.parameters().values().numel()}, at::kFloat);
    double ordinal = 1;
    for (const Parameter& parameter : model.parameters().list())
      for (size_t i = 0; i < parameter.shards.size(); ++i, ++ordinal) {
        const Shard& shard = parameter.shards[i];
        int64_t numel = 1;
        for (const int64_t size : shard.global) numel *= size;
        at::Tensor whole = (at::arange(numel, at::kFloat) + ordinal / 64).view(shard.global);
        if (!shard.replicated()) whole = whole.narrow(shard.dim, shard.begin, shard.end - shard.begin);
        parameter.part(i, flat.narrow(0, parameter.offset, parameter.numel())).copy_(whole * factor);
      }
    std::vector<at::Tensor> parts;
    for (const Owned& owned : optimizer->owned()) parts.push_back(flat.narrow(0, owned.begin, owned.length));
    return parts;
  }

  void set(AdamWState which, double factor) {
    const std::vector<at::Tensor> parts = expected(factor);
    for (size_t i = 0; i < parts.size(); ++i) optimizer->set_state(which, optimizer->owned()[i].at, parts[i]);
  }
  bool has(AdamWState which, double factor) const {
    const std::vector<at::Tensor> parts = expected(factor);
    bool all = true;
    for (size_t i = 0; i < parts.size(); ++i)
      all = all && at::equal(optimizer->state(which, optimizer->owned()[i].at, optimizer->owned()[i].length), parts[i]);
    return all;
  }

  int64_t owned() const { return model.parameters().values().numel() / mesh.dp->size(); }

  Mesh mesh;
  CausalLm model;
  std::unique_ptr<ZeroAdamW> optimizer;
};

void save(const SharedFolder& folder, const Replica& replica, bool in_background) {
  CheckpointWriter writer(folder.path(), in_background);
  save_optimizer_state(writer, "", replica.model.parameters(), *replica.optimizer, replica.mesh.place.dp_rank,
                       replica.mesh.place.tp_rank);
  writer.start();
  const WrittenFiles& written = writer.written();
  EXPECT_EQ(written.failure, "");
  for (const auto& [name, facts] : written.facts.items())
    EXPECT_NEAR(
        static_cast<double>(facts["size"].get<int64_t>()),
        static_cast<double>(saved_state_bytes(replica.owned(), replica.model.parameters().values().scalar_type())),
        20'000)
        << "a header, padding, and what another tp rank stores";
  job().host_world().barrier();
}

class OptimizerState : public testing::TestWithParam<at::ScalarType> {
 protected:
  static std::vector<int> possible_tp() {
    std::vector<int> found;
    for (const int tp : {1, 2, 4})
      if (job().size() % tp == 0) found.push_back(tp);
    return found;
  }
};

TEST_P(OptimizerState, SavedOnOneLayout_LoadsOnEveryOther) {
  for (const int there : possible_tp()) {
    const SharedFolder folder;
    {
      Replica saved(there, GetParam());
      saved.set(AdamWState::kMaster, -1);
      saved.set(AdamWState::kFirstMoment, 0.5);
      saved.set(AdamWState::kSecondMoment, 2);
      save(folder, saved, there % 2 == 0);
    }
    for (const int here : possible_tp()) {
      Replica loaded(here, GetParam());
      load_optimizer_state(folder.path(), loaded.model.parameters(), *loaded.optimizer, loaded.mesh.place.dp_rank,
                           loaded.mesh.place.tp_rank);
      EXPECT_TRUE(loaded.has(AdamWState::kFirstMoment, 0.5)) << "tp " << there << " to " << here;
      EXPECT_TRUE(loaded.has(AdamWState::kSecondMoment, 2)) << "tp " << there << " to " << here;
      // fp32 weights are their own master, and stand in hf/.
      if (loaded.optimizer->has_master()) {
        EXPECT_TRUE(loaded.has(AdamWState::kMaster, -1)) << "tp " << there << " to " << here;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtype, OptimizerState, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& tested) { return tested.param == at::kFloat ? "Fp32" : "Bf16"; });

TEST(OptimizerStateFiles, AMissingFile_IsRefusedWithTheTensorThatLacks) {
  const SharedFolder folder;
  Replica replica(1, at::kFloat);
  save(folder, replica, false);
  if (job().rank() == 0) std::filesystem::remove(folder / "dp-0000-tp-0000.safetensors");
  job().host_world().barrier();
  const std::string message = bad_input_of([&] {
    load_optimizer_state(folder.path(), replica.model.parameters(), *replica.optimizer, replica.mesh.place.dp_rank, 0);
  });
  // Rank 0's part is gone: it alone sees that something lacks.
  EXPECT_THAT(message, HasSubstr(job().rank() == 0 ? "first_moment of model.embed_tokens.weight has 0 of"
                                                   : "nothing was thrown"));
}

TEST(OptimizerStateFiles, OfTheSameLayout_ARankReadsItsOwn) {
  const SharedFolder folder;
  Replica replica(1, at::kFloat);
  const int dp_rank = replica.mesh.place.dp_rank;
  save(folder, replica, false);
  if (job().rank() == 0) std::ofstream(folder / "dp-9999-tp-0000.safetensors") << "not one";
  job().host_world().barrier();
  EXPECT_NO_THROW(load_optimizer_state(folder.path(), replica.model.parameters(), *replica.optimizer, dp_rank, 0));
  job().host_world().barrier();
}

TEST(OptimizerStateFiles, AnotherModelsState_IsRefused) {
  const SharedFolder folder;
  Replica replica(1, at::kFloat);
  save(folder, replica, false);
  CausalLm smaller(
      [] {
        ModelConfig config = load_model_config(golden_folder("mistral"));
        config.layers = 1;
        return config;
      }(),
      0, 1);
  smaller.allocate(*replica.mesh.tp, {{at::kFloat, at::kFloat, replica.mesh.dp->size() * 64}});
  const auto optimizer = make_optimizer(smaller.parameters(), {}, replica.mesh);
  EXPECT_THAT(bad_input_of([&] {
                load_optimizer_state(folder.path(), smaller.parameters(), *optimizer, replica.mesh.place.dp_rank, 0);
              }),
              HasSubstr("model.layers.1."));
}

}  // namespace
}  // namespace spt
