#include "trainer/hf_folder.h"

#include <fstream>

#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/ranks.h"
#include "tests/trainer/golden.h"
#include "tests/trainer/messages.h"
#include "tests/trainer/shared_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

const fs::path kConfigs = fs::path(SPT_SOURCE_DIR) / "configs";

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class HfFolder : public testing::Test {
 protected:
  HfFolder()
      : tokenizer_(load_tokenizer(kConfigs / "tiny_model")),
        template_(ChatTemplate::parse(text_of(kConfigs / "templates" / "spt.yaml"), "spt.yaml")) {}

  void save(at::ScalarType dtype = at::kFloat) const {
    CheckpointWriter writer(folder_.path(), true);
    save_model_files(writer, "", read_model_files(kConfigs / "tiny_model", *tokenizer_), dtype, *tokenizer_, template_,
                     {Arm::kRole, template_.text(), "abc", 40});
    writer.start();
    EXPECT_EQ(writer.written().failure, "");
  }
  std::string refusal(const json& patch) const {
    save();
    json spt = json::parse(folder_.get("spt.json"));
    spt.merge_patch(patch);
    folder_.put("spt.json", spt.dump());
    return bad_input_of([&] { load_spt_json(folder_.path()); });
  }

  TemporaryFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
  ChatTemplate template_;
};

TEST_F(HfFolder, SptJson_ReadsBackAsWritten) {
  EXPECT_EQ(load_spt_json(folder_.path()), std::nullopt) << "a model from elsewhere";
  save();
  const auto spt = load_spt_json(folder_.path());
  ASSERT_TRUE(spt);
  EXPECT_EQ(spt->arm, Arm::kRole);
  EXPECT_EQ(spt->template_text, template_.text());
  EXPECT_EQ(spt->corpus_sha256, "abc");
  EXPECT_EQ(spt->step, 40);
  const json whole = json::parse(folder_.get("spt.json"));
  EXPECT_EQ(whole.at("system"), template_.system());
  EXPECT_EQ(whole.at("role_prefix"), "You are");
}

TEST_F(HfFolder, ABrokenSptJson_IsRefused) {
  EXPECT_THAT(refusal({{"format", "other"}}), HasSubstr("format is \"other\", expected \"spt-model\""));
  EXPECT_THAT(refusal({{"version", 2}}), HasSubstr("version 2 is newer than this program knows (1)"));
  EXPECT_THAT(refusal({{"arm", "both"}}), HasSubstr("arm is \"both\""));
  EXPECT_THAT(refusal({{"template", nullptr}}), HasSubstr("template"));
  EXPECT_THAT(refusal({{"step", "last"}}), HasSubstr("spt.json"));
  folder_.put("spt.json", "{");
  EXPECT_THAT(bad_input_of([&] { load_spt_json(folder_.path()); }), HasSubstr("spt.json"));
}

TEST_F(HfFolder, TheFolder_IsATokenizerAndAConfigOfTheSameModel) {
  save(at::kBFloat16);
  const json config = json::parse(folder_.get("config.json")),
             generation = json::parse(folder_.get("generation_config.json"));
  const json settings = json::parse(folder_.get("tokenizer_config.json"));
  EXPECT_EQ(config.at("torch_dtype"), "bfloat16");
  EXPECT_EQ(config.at("architectures"), json({"LlamaForCausalLM"}));
  EXPECT_EQ(generation.at("eos_token_id"), tokenizer_->eos());
  EXPECT_EQ(settings.at("eos_token"), tokenizer_->eos_text());
  EXPECT_EQ(settings.at("chat_template"), template_.jinja(*tokenizer_));
  EXPECT_EQ(load_tokenizer(folder_.path())->sha256(), tokenizer_->sha256());
  EXPECT_EQ(load_model_config(folder_.path()), load_model_config(kConfigs / "tiny_model"));
}

// With files of 10 kB the weights go into several, with an index.
TEST(SaveWeights, OfAnyTp_AreTheBitsThatWereLoaded) {
  for (const auto& [name, dtype, file_bytes] :
       {std::tuple("llama", at::kFloat, kWeightFileBytes), std::tuple("mistral", at::kFloat, int64_t{10'000}),
        std::tuple("llama", at::kBFloat16, int64_t{10'000}), std::tuple("mistral", at::kBFloat16, kWeightFileBytes)}) {
    const SharedFolder folder;
    Mesh mesh(job(), {.tp = job().size()});
    const ModelConfig config = load_model_config(golden_folder(name));
    CausalLm model(config, mesh.place.tp_rank, mesh.tp->size());
    model.allocate(*mesh.tp, {.parameters = {.dtype = dtype}});
    load_pretrained(model, golden_folder(name));
    CheckpointWriter writer(folder.path(), dtype == at::kFloat);
    save_weights(writer, "", model, *mesh.tp, file_bytes);
    const at::NoGradGuard no_grad;
    model.parameters().values().zero_();
    writer.start();
    EXPECT_EQ(writer.written().failure, "");
    job().host_world().barrier();
    const SafetensorsReader saved(folder.path()), source(golden_folder(name));
    EXPECT_EQ(std::filesystem::exists(folder / "model.safetensors.index.json"), file_bytes != kWeightFileBytes);
    EXPECT_EQ(saved.files().size() > 1, file_bytes != kWeightFileBytes);
    EXPECT_EQ(saved.names(), source.names());
    for (const fs::path& file : saved.files())
      EXPECT_EQ(SafetensorsReader(file).metadata().at("format"), "pt") << "transformers wants it";
    for (const std::string& tensor : source.names()) {
      ASSERT_EQ(saved.shape(tensor), source.shape(tensor)) << tensor;
      EXPECT_EQ(saved.dtype(tensor), dtype);
      at::Tensor a = at::empty(source.shape(tensor), dtype), b = at::empty_like(a);
      saved.read(tensor, -1, 0, 0, a);
      source.read(tensor, -1, 0, 0, b);
      EXPECT_TRUE(at::equal(a, b)) << tensor;
    }
  }
}

}  // namespace
}  // namespace spt
