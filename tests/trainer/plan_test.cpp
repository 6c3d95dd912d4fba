#include "trainer/plan.h"

#include <map>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.h"
#include "dist/begun.h"
#include "tests/temporary_folder.h"
#include "tests/trainer/messages.h"

namespace spt {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

Machine machine(const std::string& name) {
  return load_machine((std::filesystem::path(SPT_SOURCE_DIR) / "configs/machines" / (name + ".yaml")).string());
}

// configs/llama2_7b_spt.yaml with the architecture that the public checkpoint states, and a corpus of LIMA's size.
class Llama2 : public testing::Test {
 protected:
  Llama2() {
    folder_.put("config.json",
                R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
                    "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 4096,
                    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
                    "rms_norm_eps": 1e-05, "tie_word_embeddings": false, "vocab_size": 32000})");
  }
  Planner planner(const std::string& gpu, int ranks, std::vector<std::string> overrides = {}) const {
    overrides.push_back("model.path=" + folder_.path().string());
    const RunConfig config =
        load_run_config(std::filesystem::path(SPT_SOURCE_DIR) / "configs/llama2_7b_spt.yaml", overrides);
    return Planner(config, ranks, machine(gpu), AssumedCorpus{1030, 2048});
  }
  bool fits(const std::string& gpu, int ranks, const std::vector<std::string>& overrides = {}) const {
    return planner(gpu, ranks, overrides).plan().fits;
  }

  TemporaryFolder folder_;
};

TEST_F(Llama2, FitsWhereFullFineTuningShould) {
  EXPECT_TRUE(fits("h200-141", 1));
  EXPECT_FALSE(fits("h100-80", 1));
  EXPECT_TRUE(fits("h100-80", 1, {"optimizer.offload=cpu"}));
  EXPECT_FALSE(fits("rtx4090-24", 4, {"mesh.tp=4"}));
  EXPECT_TRUE(fits("rtx4090-24", 4, {"mesh.tp=4", "optimizer.offload=cpu"}));
  EXPECT_TRUE(fits("rtx4090-24", 8, {"mesh.tp=4"}));
  EXPECT_TRUE(fits("h100-80", 8));
}

TEST_F(Llama2, MemoryIsThatOfItsParts) {
  const Plan plan = planner("h200-141", 1).plan();
  EXPECT_EQ(plan.parameters, 6'738'415'616);
  EXPECT_EQ(plan.memory.pass.tokens, 4096);
  const std::map<std::string, int64_t> parts(plan.memory.parts.begin(), plan.memory.parts.end());
  const double parameters = static_cast<double>(plan.parameters);
  EXPECT_NEAR(static_cast<double>(parts.at("weights")), 2 * parameters, 1e-3 * parameters);
  EXPECT_NEAR(static_cast<double>(parts.at("gradients")), 4 * parameters, 1e-3 * parameters);
  EXPECT_NEAR(static_cast<double>(parts.at("optimizer state")), 10 * parameters, 1e-3 * parameters);
  EXPECT_EQ(plan.optimizer_bytes, 12 * plan.parameters);
}

TEST_F(Llama2, CopiesOfACheckpointAreCountedWhereTheyAreMade) {
  const auto copies = [&](DeviceKind device, int ranks, const std::vector<std::string>& overrides) {
    Machine host = machine("h100-80");
    host.device = device;
    std::vector<std::string> all{"model.path=" + folder_.path().string()};
    all.insert(all.end(), overrides.begin(), overrides.end());
    const RunConfig config = load_run_config(std::filesystem::path(SPT_SOURCE_DIR) / "configs/llama2_7b_spt.yaml", all);
    const PlannedMemory memory = Planner(config, ranks, host, AssumedCorpus{1030, 2048}).plan().memory;
    const std::map<std::string, int64_t> parts(memory.parts.begin(), memory.parts.end());
    return static_cast<double>(device == DeviceKind::kCpu ? parts.at("copies of a checkpoint") : memory.on_host) /
           6'738'415'616;
  };
  // Bytes a parameter: weights, two moments, and the master where it is not the weights.
  EXPECT_NEAR(copies(DeviceKind::kCpu, 1, {"model.dtype=fp32"}), 4 + 8, 1e-3);
  EXPECT_NEAR(copies(DeviceKind::kCpu, 8, {}), 2 + 12.0 / 8, 1e-3);
  EXPECT_NEAR(copies(DeviceKind::kGpu, 8, {}), 2 + 12.0 / 8, 1e-3);
  EXPECT_EQ(copies(DeviceKind::kCpu, 1, {"checkpoint.background=false"}), 0);
  EXPECT_EQ(copies(DeviceKind::kCpu, 1, {"train.epochs=1"}), 0) << "the only checkpoint is the last";
}

TEST_F(Llama2, WhereOnlyCopiesOfACheckpointDoNotFit_TheProposalIsToMakeNone) {
  Machine host = machine("h100-80");
  host.device = DeviceKind::kCpu;
  RunConfig config = load_run_config(std::filesystem::path(SPT_SOURCE_DIR) / "configs/llama2_7b_spt.yaml",
                                     {"model.path=" + folder_.path().string(), "checkpoint.background=false"});
  const int64_t without = Planner(config, 1, host, AssumedCorpus{1030, 2048}).plan().memory.total();
  config.checkpoint.background = true;
  host.memory_gb = host.reserved_gb + 1e-9 * static_cast<double>(without) + 1;
  const std::vector<Proposal> proposals = Planner(config, 1, host, AssumedCorpus{1030, 2048}).proposals();
  ASSERT_FALSE(proposals.empty());
  for (const Proposal& proposal : proposals) EXPECT_THAT(proposal.overrides, Contains("checkpoint.background=false"));
}

TEST_F(Llama2, ProposalsFitAndTakeWhatAPlanOfThemSays) {
  const std::vector<std::string> given{"model.recompute=none", "train.micro_batch_tokens=16384"};
  const std::vector<Proposal> proposals = planner("rtx4090-24", 8, given).proposals();
  ASSERT_EQ(proposals.size(), 3);
  for (const Proposal& proposal : proposals) {
    std::vector<std::string> overrides = given;
    overrides.insert(overrides.end(), proposal.overrides.begin(), proposal.overrides.end());
    const Plan plan = planner("rtx4090-24", 8, overrides).plan();
    EXPECT_TRUE(plan.fits);
    EXPECT_EQ(plan.memory.total(), proposal.bytes);
    EXPECT_EQ(plan.memory.on_host, proposal.on_host);
    EXPECT_DOUBLE_EQ(plan.step.total(), proposal.seconds);
  }
}

TEST_F(Llama2, NoProposalOnlyAddsChangesToAnother_AndTheFirstIsTheFastestOfThoseWithFewKeys) {
  const std::vector<Proposal> proposals = planner("rtx4090-24", 8).proposals();
  ASSERT_FALSE(proposals.empty());
  for (const std::string zero : {"", "optimizer.zero=2"})
    for (const std::string offload : {"", "optimizer.offload=cpu"})
      for (const std::string tp : {"", "mesh.tp=2", "mesh.tp=4"}) {
        std::vector<std::string> overrides;
        for (const std::string& one : {zero, offload, tp})
          if (!one.empty()) overrides.push_back(one);
        const Plan plan = planner("rtx4090-24", 8, overrides).plan();
        if (plan.fits) EXPECT_LT(proposals[0].seconds, 1.01 * plan.step.total()) << testing::PrintToString(overrides);
      }
  for (size_t faster = 0; faster < proposals.size(); ++faster)
    for (size_t i = faster + 1; i < proposals.size(); ++i)
      EXPECT_THAT(proposals[i].overrides, Not(IsSupersetOf(proposals[faster].overrides)));
}

TEST_F(Llama2, WhereItFits_ProposalsAreFaster) {
  const Planner planned = planner("h100-80", 8);
  const Plan plan = planned.plan();
  ASSERT_TRUE(plan.fits);
  const std::vector<Proposal> proposals = planned.proposals();
  ASSERT_FALSE(proposals.empty());
  EXPECT_THAT(proposals[0].overrides, Contains("model.recompute=none"));
  for (const Proposal& proposal : proposals) EXPECT_LT(proposal.seconds, 0.97 * plan.step.total());
}

TEST_F(Llama2, WhatIsOffloadedMustFitTheHost) {
  Machine gpu = machine("h100-80");
  const auto plan = [&](std::optional<double> host_memory_gb) {
    gpu.host_memory_gb = host_memory_gb;
    const RunConfig config = load_run_config(
        std::filesystem::path(SPT_SOURCE_DIR) / "configs/llama2_7b_spt.yaml",
        {"model.path=" + folder_.path().string(), "optimizer.offload=cpu", "checkpoint.background=false"});
    return Planner(config, 1, gpu, AssumedCorpus{1030, 2048}).plan();
  };
  const double needed = 1e-9 * static_cast<double>(plan(std::nullopt).memory.on_host);
  EXPECT_NEAR(needed, 67.4, 0.1) << "10 bytes a parameter";
  EXPECT_TRUE(plan(std::nullopt).fits) << "nothing is known of the host";
  EXPECT_TRUE(plan(needed + 1).fits);
  EXPECT_FALSE(plan(needed - 1).fits);
}

TEST_F(Llama2, AStepOfMillionsOfExamplesIsPlannedInSeconds) {
  const RunConfig config = load_run_config(std::filesystem::path(SPT_SOURCE_DIR) / "configs/llama2_7b_spt.yaml",
                                           {"model.path=" + folder_.path().string(), "train.batch_examples=2000000"});
  const Planner planned(config, 8, machine("h100-80"), AssumedCorpus{2'000'000, 100});
  EXPECT_EQ(planned.plan().step.tokens, 2e8);
}

TEST_F(Llama2, StepsTakeLessTimeOnMoreRanksAndTokensStayTheSame) {
  const Plan one = planner("h200-141", 1).plan(), eight = planner("h200-141", 8).plan();
  EXPECT_DOUBLE_EQ(one.step.tokens, eight.step.tokens);
  EXPECT_DOUBLE_EQ(one.step.flops, eight.step.flops);
  EXPECT_LT(eight.step.total(), one.step.total() / 5);
  EXPECT_GT(eight.step.total(), one.step.total() / 8);
  EXPECT_EQ(one.steps, 5 * 17);
}

TEST_F(Llama2, OverlapOnCpuRanksOfSeveralHosts_LeavesWhatNothingIsComputedBeside) {
  const auto plan = [&](const std::string& overlap, int zero, double network_gb_s) {
    Machine hosts = machine("h100-80");
    hosts.device = DeviceKind::kCpu;
    hosts.network_gb_s = network_gb_s;
    const RunConfig config = load_run_config(
        std::filesystem::path(SPT_SOURCE_DIR) / "configs/llama2_7b_spt.yaml",
        {"model.path=" + folder_.path().string(), "mesh.overlap=" + overlap, fmt::format("optimizer.zero={}", zero)});
    return Planner(config, 16, hosts, AssumedCorpus{1030, 2048}).plan();
  };
  const auto seconds = [](const Plan& planned, const std::string& part) {
    return std::map<std::string, double>(planned.step.seconds.begin(), planned.step.seconds.end()).at(part);
  };
  // A look moves 4 MiB (dist/begun.h): of 6.74 billion values, both ways, 4 looks a block forward and 8 backward.
  const double hidden = 32 * 8 * double{kLookBytes} / (4 * 6.738e9 * 15 / 16);  // of gradients; of bf16 weights as much
  for (const int zero : {1, 2}) {
    const Plan off = plan("off", zero, 50), on = plan("auto", zero, 50);
    EXPECT_NEAR(seconds(on, "weights over dp") / seconds(off, "weights over dp"), 1 - hidden, 0.005);
    if (zero == 1) EXPECT_NEAR(seconds(on, "gradients over dp") / seconds(off, "gradients over dp"), 1 - hidden, 0.005);
    EXPECT_EQ(seconds(on, "matrix products"), seconds(off, "matrix products"));
    EXPECT_GT(seconds(plan("auto", zero, 0.001), "gradients over dp"),
              0.95 * seconds(plan("off", zero, 0.001), "gradients over dp"));
    // A second piece of memory, in turns with the first: 202 million gradients of 4 bytes.
    const double more = static_cast<double>(on.memory.total() - off.memory.total());
    EXPECT_NEAR(more, zero == 1 ? 0 : 4 * 202.4e6, 1e6);
  }
}

TEST_F(Llama2, OverlapOnGpus_HidesAllButWhatNothingIsComputedBeside) {
  const auto seconds = [&](const std::vector<std::string>& overrides, const std::string& part) {
    const Plan planned = planner("h100-80", 16, overrides).plan();
    return std::map<std::string, double>(planned.step.seconds.begin(), planned.step.seconds.end()).at(part);
  };
  for (const std::string part : {"gradients over dp", "weights over dp"}) {
    const double off = seconds({"mesh.overlap=off"}, part), on = seconds({}, part);
    // Those of the embedding and of the first block (131 and 202 of 6,738 million) have nothing to be computed beside.
    EXPECT_NEAR(on / off, (131.1 + 202.4) / 6738, 0.005) << part;
    EXPECT_EQ(seconds({"mesh.overlap=on"}, part), on);
    EXPECT_EQ(seconds({"mesh.backend=mpi"}, part), off) << "staged through host memory";
  }
  EXPECT_LT(seconds({"optimizer.zero=2"}, "gradients over dp"),
            seconds({"optimizer.zero=2", "mesh.overlap=off"}, "gradients over dp") / 4);
}

TEST_F(Llama2, RanksThatTpDoesNotDivideAndMachinesThatAreNoneAreRefused) {
  EXPECT_THAT(bad_input_of([&] { planner("h100-80", 6, {"mesh.tp=4"}); }),
              HasSubstr("mesh.tp is 4, which does not divide the 6 rank(s)"));
  EXPECT_THAT(bad_input_of([&] { planner("h100-80", 16, {"mesh.tp=16"}); }), HasSubstr("across the hosts"));
  EXPECT_THAT(bad_input_of([&] { planner("h100-80", 1, {"schedule.warmup_steps=85"}); }), HasSubstr("85 steps"));
  EXPECT_THAT(bad_input_of([&] { planner("h100-80", 3, {"mesh.tp=3"}); }), HasSubstr("tp"));
  const std::filesystem::path bad = folder_.put("bad.yaml", "memory_gb: 80\nbf16_tflops: 0\n");
  EXPECT_THAT(bad_input_of([&] { load_machine(bad.string()); }), HasSubstr("bf16_tflops is 0, must be 1e-6 to 1e6"));
  const RunConfig config = load_run_config(std::filesystem::path(SPT_SOURCE_DIR) / "configs/llama2_7b_spt.yaml",
                                           {"model.path=" + folder_.path().string()});
  for (const AssumedCorpus assumed : {AssumedCorpus{0, 5}, {-5, -3}, {10, 5000}, {int64_t{1} << 60, 5}})
    EXPECT_THAT(bad_input_of([&] { Planner(config, 1, machine("h100-80"), assumed); }), HasSubstr("must be 1 to"));
}

TEST(Machines, ThatShipLoad) {
  for (const auto& file :
       std::filesystem::directory_iterator(std::filesystem::path(SPT_SOURCE_DIR) / "configs/machines"))
    EXPECT_NO_THROW(load_machine(file.path().string())) << file.path();
}

}  // namespace
}  // namespace spt
