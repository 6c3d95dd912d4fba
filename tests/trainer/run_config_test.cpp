#include "trainer/run_config.h"

#include <gmock/gmock.h>

#include "tests/temporary_folder.h"
#include "tests/trainer/messages.h"

namespace spt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const char* const kLeast = "run:\n  dir: runs/x\nmodel:\n  path: models/m\ndata:\n  train: c.h5\n";

class RunConfigFile : public testing::Test {
 protected:
  RunConfig load(const std::vector<std::string>& overrides = {}, const std::string& yaml = kLeast) const {
    return load_run_config(folder_.put("run.yaml", yaml), overrides);
  }
  std::string refusal(const std::vector<std::string>& overrides, const std::string& yaml = kLeast) const {
    return bad_input_of([&] { load(overrides, yaml); });
  }

  TemporaryFolder folder_;
};

TEST_F(RunConfigFile, Defaults_AreThoseOfTheContract) {
  const RunConfig config = load();
  EXPECT_EQ(config.run.seed, 1u);
  EXPECT_EQ(config.run.log_every, 1);
  EXPECT_EQ(config.run.collective_timeout_s, 600);
  EXPECT_EQ(config.run.io_timeout_s, 3600);
  EXPECT_EQ(config.mesh.tp, 1);
  EXPECT_EQ(config.model.init, Init::kPretrained);
  EXPECT_EQ(config.model.recompute, Recompute::kNone);
  EXPECT_TRUE(config.data.packing);
  EXPECT_EQ(config.optimizer.lr, 1e-5);
  EXPECT_THAT(config.optimizer.betas, ElementsAre(0.9, 0.95));
  EXPECT_EQ(config.optimizer.eps, 1e-8);
  EXPECT_EQ(config.optimizer.weight_decay, 0.1);
  EXPECT_EQ(config.optimizer.clip_norm, 1.0);
  EXPECT_EQ(config.schedule.warmup_steps, 0);
  EXPECT_EQ(config.schedule.final_lr, 1e-6);
  EXPECT_EQ(config.train.epochs, 5);
  EXPECT_EQ(config.train.batch_examples, 64);
  EXPECT_EQ(config.train.micro_batch_tokens, 4096);
  EXPECT_EQ(config.checkpoint.every_steps, std::nullopt);
  EXPECT_EQ(config.checkpoint.keep, 2);
  EXPECT_EQ(config.checkpoint.resume, Resume::kAuto);
  EXPECT_TRUE(config.checkpoint.final_optimizer);
}

TEST_F(RunConfigFile, Steps_TakeThePlaceOfEpochs) {
  const RunConfig config = load({"train.steps=40"});
  EXPECT_EQ(config.train.steps, 40);
  EXPECT_EQ(config.train.epochs, std::nullopt);
}

TEST_F(RunConfigFile, Dtype_AutoIsFp32OnTheCpuAndBf16OnAGpu) {
  EXPECT_EQ(scalar_type(Dtype::kAuto, at::kCPU), at::kFloat);
  EXPECT_EQ(scalar_type(Dtype::kAuto, at::Device(at::kCUDA, 0)), at::kBFloat16);
  EXPECT_EQ(scalar_type(Dtype::kBf16, at::kCPU), at::kBFloat16);
  EXPECT_EQ(scalar_type(Dtype::kFp32, at::Device(at::kCUDA, 0)), at::kFloat);
}

TEST_F(RunConfigFile, BadValues_AreRefusedWithKeyValueAndLimit) {
  const std::pair<const char*, const char*> cases[] = {
      {"run.log_every=0", "run.log_every is 0, must be at least 1"},
      {"run.collective_timeout_s=-1", "run.collective_timeout_s is -1, must be at least 0"},
      {"run.io_timeout_s=-0.5", "run.io_timeout_s is -0.5, must be at least 0"},
      {"mesh.tp=0", "mesh.tp is 0, must be at least 1"},
      {"mesh.backend=gloo", "mesh.backend is 'gloo', expected one of auto, nccl, mpi"},
      {"model.init=zero", "model.init is 'zero', expected one of pretrained, random"},
      {"optimizer.eps=1e-60", "optimizer.eps is 1e-60, must be at least 1e-37"},
      {"model.dtype=fp16", "model.dtype is 'fp16', expected one of auto, fp32, bf16"},
      {"model.attention=triton", "model.attention is 'triton', expected one of auto, flash, cudnn"},
      {"data.max_tokens=1", "data.max_tokens is 1, must be at least 2"},
      {"optimizer.lr=0", "optimizer.lr is 0, must be above 0"},
      {"optimizer.lr=fast", "optimizer.lr is 'fast'"},
      {"optimizer.eps=0", "optimizer.eps is 0, must be at least 1e-37"},
      {"optimizer.betas=[0.9]", "optimizer.betas has 1 values, must have 2"},
      {"optimizer.betas=[0.9, 1]", "optimizer.betas is 1, must be at least 0 and below 1"},
      {"optimizer.weight_decay=-0.1", "optimizer.weight_decay is -0.1, must be 0 to 1000"},
      {"optimizer.clip_norm=-1", "optimizer.clip_norm is -1, must be at least 0"},
      {"schedule.kind=cosine", "schedule.kind is 'cosine', expected one of linear"},
      {"schedule.warmup_steps=-1", "schedule.warmup_steps is -1, must be at least 0"},
      {"schedule.final_lr=-1", "schedule.final_lr is -1, must be at least 0"},
      {"train.epochs=0", "train.epochs is 0, must be at least 1"},
      {"train.steps=0", "train.steps is 0, must be at least 1"},
      {"train.batch_examples=0", "train.batch_examples is 0, must be at least 1"},
      {"train.batch_examples=1.5", "train.batch_examples is '1.5', expected a whole number"},
      {"train.micro_batch_tokens=0", "train.micro_batch_tokens is 0, must be at least 1"},
      {"checkpoint.every_steps=0", "checkpoint.every_steps is 0, must be at least 1"},
      {"checkpoint.keep=0", "checkpoint.keep is 0, must be at least 1"},
      {"train.epochs=9223372036854775807", "train.epochs is 9223372036854775807, must be at most 1000000"},
      {"train.steps=9223372036854775807", "train.steps is 9223372036854775807, must be at most 1000000000"},
  };
  for (const auto& [override, message] : cases) {
    EXPECT_THAT(refusal({override}), HasSubstr(message));
    EXPECT_THAT(refusal({override}), HasSubstr("command line")) << "says where the value stands";
  }
}

TEST_F(RunConfigFile, NumbersThatAreNotFinite_AreRefused) {
  for (const char* key : {"run.collective_timeout_s", "optimizer.lr", "optimizer.eps", "optimizer.weight_decay",
                          "optimizer.clip_norm", "schedule.final_lr"})
    for (const char* value : {"nan", ".nan", "inf", ".inf"})
      EXPECT_THAT(refusal({std::string(key) + "=" + value}), HasSubstr(key)) << value;
}

TEST_F(RunConfigFile, BothEpochsAndSteps_AreRefused) {
  EXPECT_THAT(refusal({"train.epochs=2", "train.steps=40"}), HasSubstr("train.epochs and train.steps are both given"));
}

TEST_F(RunConfigFile, MissingPaths_AreAllNamedAtOnce) {
  EXPECT_THAT(refusal({}, "run:\n  seed: 2\n"),
              testing::AllOf(HasSubstr("run.dir is missing"), HasSubstr("model.path is missing"),
                             HasSubstr("data.train is missing")));
}

TEST_F(RunConfigFile, AMisspeltKey_IsRefusedWithItsLineAndTheNearestKey) {
  EXPECT_THAT(refusal({}, std::string(kLeast) + "optimizer:\n  learnig_rate: 1\n  weight_decai: 0\n"),
              testing::AllOf(HasSubstr("run.yaml:8"), HasSubstr("unknown key optimizer.learnig_rate"),
                             HasSubstr("run.yaml:9"), HasSubstr("did you mean optimizer.weight_decay?")));
}

TEST_F(RunConfigFile, TheResolvedText_LoadsAsTheSameConfiguration) {
  const RunConfig config = load({"optimizer.lr=3.1e-5", "data.valid=v.h5", "checkpoint.every_steps=7", "mesh.tp=2"});
  const RunConfig again = load({}, dump_fields(config));
  EXPECT_EQ(dump_fields(again), dump_fields(config));
}

TEST_F(RunConfigFile, Differences_NamesTheKeyWithBothValues) {
  const RunConfig there = load();
  EXPECT_THAT(differences(there, load({"optimizer.lr=2e-5"})), ElementsAre("optimizer.lr: 1e-05 there, 2e-05 now"));
  EXPECT_THAT(differences(there, load({"train.steps=3"})),
              ElementsAre("train.epochs: 5 there, null now", "train.steps: null there, 3 now"));
}

TEST_F(RunConfigFile, Differences_LetsThroughWhatAResumedRunMayChange) {
  EXPECT_THAT(
      differences(load(), load({"mesh.tp=2", "mesh.backend=mpi", "run.log_every=5", "run.collective_timeout_s=9",
                                "run.io_timeout_s=9", "model.recompute=block", "train.micro_batch_tokens=64",
                                "model.sequence_parallel=false", "model.attention=flash", "optimizer.zero=2",
                                "checkpoint.every_steps=3", "checkpoint.keep=1", "checkpoint.final_optimizer=false"})),
      IsEmpty());
  for (const char* override :
       {"run.seed=2", "model.path=models/other", "model.dtype=bf16", "model.init=random", "data.train=d.h5",
        "data.valid=v.h5", "data.packing=false", "data.max_tokens=8", "optimizer.betas=[0.9, 0.99]",
        "optimizer.grad_dtype=bf16", "schedule.final_lr=0", "train.batch_examples=32"})
    EXPECT_THAT(differences(load(), load({override})), Not(IsEmpty())) << override;
}

}  // namespace
}  // namespace spt
