#include "trainer/model/model_config.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/temporary_folder.h"
#include "tests/trainer/messages.h"

namespace spt {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

json llama() {
  return {{"model_type", "llama"},       {"vocab_size", 1003},
          {"hidden_size", 64},           {"intermediate_size", 96},
          {"num_hidden_layers", 2},      {"num_attention_heads", 8},
          {"num_key_value_heads", 4},    {"max_position_embeddings", 128},
          {"rms_norm_eps", 1e-5},        {"hidden_act", "silu"},
          {"tie_word_embeddings", true}, {"rope_theta", 50000.0}};
}

class ModelConfigFile : public testing::Test {
 protected:
  ModelConfig load(const json& config) const {
    folder_.put("config.json", config.dump());
    return load_model_config(folder_.path());
  }
  std::string refusal(const json& patch) const {
    json config = llama();
    config.merge_patch(patch);  // null removes a key
    return bad_input_of([&] { load(config); });
  }

  TemporaryFolder folder_;
};

TEST_F(ModelConfigFile, Load_ReadsTheArchitecture) {
  const ModelConfig config = load(llama());
  EXPECT_EQ(config.vocab_size, 1003);
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.intermediate_size, 96);
  EXPECT_EQ(config.layers, 2);
  EXPECT_EQ(config.heads, 8);
  EXPECT_EQ(config.kv_heads, 4);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.max_positions, 128);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_EQ(config.rope.theta, 50000.0);
  EXPECT_EQ(config.rope.scaling, RopeScaling::kNone);
  EXPECT_EQ(config.sliding_window, std::nullopt);
}

TEST_F(ModelConfigFile, Load_GivesMistralItsWindowAndLlamaNone) {
  json config = llama();
  config["sliding_window"] = 16;
  EXPECT_EQ(load(config).sliding_window, std::nullopt);
  config["model_type"] = "mistral";
  EXPECT_EQ(load(config).sliding_window, 16);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(load(config).sliding_window, std::nullopt);
}

TEST_F(ModelConfigFile, Load_TakesTransformersDefaultsForKeysThatMistralsConfigLacks) {
  json config = llama();
  config["model_type"] = "mistral";
  config.erase("num_key_value_heads");
  EXPECT_EQ(load(config).sliding_window, 4096);
  EXPECT_EQ(load(config).kv_heads, 8);
  config["num_attention_heads"] = 16;
  config["num_key_value_heads"] = nullptr;
  EXPECT_EQ(load(config).kv_heads, 16);
}

TEST_F(ModelConfigFile, Load_WithoutKeyValueHeadsGivesEachHeadItsOwn) {
  json config = llama();
  config.erase("num_key_value_heads");
  EXPECT_EQ(load(config).kv_heads, 8);
}

TEST_F(ModelConfigFile, Load_ReadsScalingOfOldAndNewConfigs) {
  json config = llama();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  EXPECT_EQ(load(config).rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(load(config).rope.factor, 2.0);
  EXPECT_EQ(load(config).rope.theta, 50000.0);
  config.erase("rope_scaling");
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_type", "llama3"},   {"rope_theta", 500000.0},
                               {"factor", 8.0},           {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 64}};
  EXPECT_EQ(load(config).rope.scaling, RopeScaling::kLlama3);
  EXPECT_EQ(load(config).rope.theta, 500000.0);
  EXPECT_EQ(load(config).rope.original_max_positions, 64);
}

TEST_F(ModelConfigFile, Load_TakesTheThetaInsideBeforeTheOneBesideIt) {
  json config = llama();
  config["rope_parameters"] = {{"rope_type", "default"}};
  EXPECT_EQ(load(config).rope.theta, 50000.0);
  config["rope_parameters"]["rope_theta"] = 70000.0;
  EXPECT_EQ(load(config).rope.theta, 70000.0);
  config.erase("rope_parameters");
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 80000.0}};
  EXPECT_EQ(load(config).rope.theta, 80000.0);
}

TEST_F(ModelConfigFile, WhatWouldChangeTheMathematics_IsRefusedWithKeyAndValue) {
  const std::pair<json, const char*> cases[] = {
      {{{"model_type", "gpt2"}}, "model_type is \"gpt2\"; supported are llama and mistral"},
      {{{"attention_bias", true}}, "attention_bias is true"},
      {{{"mlp_bias", true}}, "mlp_bias is true"},
      {{{"hidden_act", "gelu"}}, "hidden_act is \"gelu\""},
      {{{"attention_dropout", 0.1}}, "attention_dropout is 0.1"},
      {{{"partial_rotary_factor", 0.5}}, "partial_rotary_factor is 0.5"},
      {{{"quantization_config", {{"bits", 4}}}}, "quantization_config is set"},
      {{{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}}}},
       "rope_type is \"yarn\"; supported are default, linear and llama3"},
      {{{"rope_scaling", {{"rope_type", "default"}}}, {"rope_parameters", {{"rope_type", "default"}}}},
       "rope_parameters and rope_scaling are both given"},
      {{{"original_max_position_embeddings", 32},
        {"rope_parameters",
         {{"rope_type", "llama3"},
          {"factor", 8.0},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 64}}}},
       "original_max_position_embeddings is 32; only 64"},
  };
  for (const auto& [patch, message] : cases)
    EXPECT_THAT(refusal(patch), AllOf(HasSubstr((folder_ / "config.json").string()), HasSubstr(message)));
}

TEST_F(ModelConfigFile, BrokenValues_AreRefusedWithKeyAndValue) {
  const std::pair<json, const char*> cases[] = {
      {{{"hidden_size", nullptr}}, "the key hidden_size is missing"},
      {{{"model_type", nullptr}}, "the key model_type is missing"},
      {{{"vocab_size", "many"}}, "vocab_size is \"many\", expected a whole number"},
      {{{"vocab_size", 0}}, "vocab_size is 0, expected a whole number"},
      {{{"num_hidden_layers", 1e300}}, "num_hidden_layers is 1e+300"},
      {{{"rms_norm_eps", -1}}, "rms_norm_eps is -1, expected a number above 0"},
      {{{"tie_word_embeddings", 1}}, "tie_word_embeddings is 1, expected true or false"},
      {{{"num_key_value_heads", 3}}, "num_attention_heads 8 is no multiple of num_key_value_heads 3"},
      {{{"hidden_size", 65}}, "hidden_size 65 is no multiple of num_attention_heads 8"},
      {{{"head_dim", 7}}, "head dimension 7 is odd"},
      {{{"rope_scaling", 4}}, "rope_scaling: not a JSON object"},
  };
  for (const auto& [patch, message] : cases) EXPECT_THAT(refusal(patch), HasSubstr(message));
}

TEST_F(ModelConfigFile, AFolderWithoutAReadableConfig_IsRefused) {
  EXPECT_THAT(bad_input_of([&] { load_model_config(folder_ / "none"); }), HasSubstr("no such folder"));
  EXPECT_THAT(bad_input_of([&] { load_model_config(folder_.path()); }), HasSubstr("must be a Hugging Face folder"));
  folder_.put("config.json", "{\"model_type\": ");
  EXPECT_THAT(bad_input_of([&] { load_model_config(folder_.path()); }), HasSubstr("not valid JSON"));
  folder_.put("config.json", "[1]");
  EXPECT_THAT(bad_input_of([&] { load_model_config(folder_.path()); }), HasSubstr("not a JSON object"));
}

TEST_F(ModelConfigFile, TensorParallel_ThatDoesNotFitIsRefusedWithThePossibleValues) {
  const ModelConfig config = load(llama());
  for (const int tp : {1, 2, 4}) EXPECT_NO_THROW(check_tensor_parallel(config, tp));
  for (const int tp : {3, 8, 16})
    EXPECT_THAT(bad_input_of([&] { check_tensor_parallel(config, tp); }),
                AllOf(HasSubstr("mesh.tp is " + std::to_string(tp)), HasSubstr("possible: 1, 2, 4")));
}

TEST_F(ModelConfigFile, TensorParallel_ThatLeavesARankWithoutVocabularyIsRefused) {
  ModelConfig config = load(llama());
  config.vocab_size = 6;  // runs of two: the fourth rank would get none
  EXPECT_NO_THROW(check_tensor_parallel(config, 2));
  EXPECT_THAT(bad_input_of([&] { check_tensor_parallel(config, 4); }),
              AllOf(HasSubstr("vocabulary of 6"), HasSubstr("possible: 1, 2")));
}

}  // namespace
}  // namespace spt
