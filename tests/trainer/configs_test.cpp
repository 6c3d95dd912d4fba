// The configurations that ship with the project: they load, and the models they name can be built. What cannot be
// trained here is checked by arithmetic: declaring the parameters of a 7B model takes no memory.
#include <map>
#include <set>

#include <gmock/gmock.h>

#include "data/config_file.h"
#include "tests/temporary_folder.h"
#include "trainer/model/causal_lm.h"
#include "trainer/run_config.h"

namespace spt {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

std::filesystem::path config_file(const std::string& name) {
  return std::filesystem::path(SPT_SOURCE_DIR) / "configs" / (name + ".yaml");
}

struct Architecture {
  const char* name;  // of the configurations: NAME_spt.yaml and NAME_plain.yaml
  const char* model_path;
  const char* config_json;  // as the public checkpoint states it
  int64_t parameters;
  int64_t kv_heads;
};

const Architecture kArchitectures[] = {
    {"llama2_7b", "models/Llama-2-7b-hf",
     R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 4096,
         "intermediate_size": 11008, "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 32,
         "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null,
         "tie_word_embeddings": false, "vocab_size": 32000})",
     6'738'415'616, 32},
    {"mistral_7b", "models/Mistral-7B-v0.1",
     R"({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_act": "silu", "hidden_size": 4096,
         "intermediate_size": 14336, "max_position_embeddings": 32768, "num_attention_heads": 32, "num_hidden_layers": 32,
         "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096,
         "tie_word_embeddings": false, "vocab_size": 32000})",
     7'241'732'096, 8},
};

class SevenBillion : public testing::TestWithParam<Architecture> {
 protected:
  RunConfig load(const char* arm) const { return load_run_config(config_file(std::string(GetParam().name) + arm), {}); }
  ModelConfig model() const {
    TemporaryFolder folder;
    folder.put("config.json", GetParam().config_json);
    return load_model_config(folder.path());
  }
};

TEST_P(SevenBillion, Configuration_IsLimasRecipeInBf16WithRecomputation) {
  const RunConfig config = load("_spt");
  EXPECT_EQ(config.model.path, GetParam().model_path);
  EXPECT_EQ(config.model.dtype, Dtype::kBf16);
  EXPECT_EQ(config.model.recompute, Recompute::kBlock);
  EXPECT_EQ(config.optimizer.lr, 1e-5);
  EXPECT_THAT(config.optimizer.betas, ElementsAre(0.9, 0.95));
  EXPECT_EQ(config.optimizer.weight_decay, 0.1);
  EXPECT_EQ(config.schedule.final_lr, 1e-6);
  EXPECT_EQ(config.schedule.warmup_steps, 0);
  EXPECT_EQ(config.train.epochs, 5);
  EXPECT_EQ(config.train.batch_examples, 64);
}

TEST_P(SevenBillion, Configuration_OfBothArmsDiffersInTheCorpusAlone) {
  EXPECT_THAT(differences(load("_spt"), load("_plain")), ElementsAre(StartsWith("data.train: ")));
  EXPECT_NE(load("_spt").run.dir, load("_plain").run.dir);
}

TEST_P(SevenBillion, Configuration_StatesEveryKeyButSteps) {
  for (const char* arm : {"_spt", "_plain"}) {
    const ConfigValues stated = load_config_values(config_file(std::string(GetParam().name) + arm), {});
    for (const auto& line : list_fields<RunConfig>())
      EXPECT_TRUE(stated.contains(line.key) || line.key == "train.steps") << GetParam().name << arm << ": " << line.key;
  }
}

TEST_P(SevenBillion, Model_HasThePublishedNumberOfParameters) {
  const CausalLm model(this->model(), 0, 1);
  EXPECT_EQ(model.parameters().numel(), GetParam().parameters);
  EXPECT_FALSE(model.parameters().values().defined()) << "no memory was taken";
  std::set<std::string> names;
  size_t count = 0;
  for (const Parameter& parameter : model.parameters().list())
    for (const Shard& shard : parameter.shards) {
      names.insert(shard.name);
      ++count;
    }
  EXPECT_EQ(count, 32 * 9 + 3u);
  EXPECT_EQ(names.size(), count) << "each name once";
  for (const char* name :
       {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "model.layers.31.mlp.down_proj.weight",
        "model.layers.0.self_attn.k_proj.weight", "model.layers.7.post_attention_layernorm.weight"})
    EXPECT_TRUE(names.contains(name)) << name;
}

TEST_P(SevenBillion, TensorParallelRanks_TogetherHoldEachElementOnce) {
  const ModelConfig config = model();
  for (int tp = 1; tp <= GetParam().kv_heads; tp *= 2) {
    std::map<std::string, int64_t> end;  // of the parts seen so far
    int64_t elements = 0;
    for (int rank = 0; rank < tp; ++rank) {
      const CausalLm part(config, rank, tp);
      for (const Parameter& parameter : part.parameters().list())
        for (const Shard& shard : parameter.shards) {
          if (shard.replicated()) {
            if (rank == 0) elements += shard.numel();
            continue;
          }
          EXPECT_EQ(shard.begin, end[shard.name]) << shard.name << " of rank " << rank << " of " << tp;
          end[shard.name] = shard.end;
          elements += shard.numel();
          EXPECT_TRUE(rank < tp - 1 || shard.end == shard.global[static_cast<size_t>(shard.dim)]) << shard.name;
        }
    }
    EXPECT_EQ(elements, GetParam().parameters) << "tp " << tp;
  }
}

INSTANTIATE_TEST_SUITE_P(Configs, SevenBillion, testing::ValuesIn(kArchitectures),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(TinyCpu, Configuration_Takes40StepsOfARandomModelThatTpOf4Fits) {
  const RunConfig config = load_run_config(config_file("tiny_cpu"), {"mesh.tp=2"});
  EXPECT_EQ(config.run.dir, "runs/tiny");
  EXPECT_EQ(config.model.init, Init::kRandom);
  EXPECT_EQ(config.train.steps, 40);
  const ModelConfig model = load_model_config(std::filesystem::path(SPT_SOURCE_DIR) / config.model.path);
  EXPECT_NO_THROW(CausalLm(model, 3, 4));
  EXPECT_LT(CausalLm(model, 0, 1).parameters().numel(), 2'000'000);
}

TEST(Quickstart, Configuration_LoadsWithWhatTheScriptGives) {
  EXPECT_NO_THROW(load_run_config(config_file("quickstart"),
                                  {"run.dir=runs/quickstart/role", "data.train=a.h5", "data.valid=b.h5"}));
}

}  // namespace
}  // namespace spt
