#include "trainer/model/pretrained.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include "data/safetensors.h"
#include "tests/ranks.h"
#include "tests/temporary_folder.h"
#include "tests/trainer/golden.h"

namespace spt {
namespace {

// Each rank has a folder of its own, in which only the tensors that are its turn to read are right.
TEST(LoadPretrained, OverDp_ReadsEachTensorOnOneRank) {
  if (job().size() == 1) GTEST_SKIP() << "one rank reads all";
  Mesh mesh(job(), {});
  const std::filesystem::path source = golden_folder("llama");
  const ModelConfig config = load_model_config(source);
  CausalLm expected(config, 0, 1), model(config, 0, 1);
  expected.allocate(*mesh.tp, {});
  load_pretrained(expected, source);

  const TemporaryFolder folder;
  const SafetensorsReader reader(source);
  std::vector<SafetensorsEntry> entries;
  for (const Parameter& parameter : expected.parameters().list())
    for (const Shard& shard : parameter.shards) entries.push_back({shard.name, at::kFloat, shard.global});
  SafetensorsWriter writer(folder / "model.safetensors", entries, {});
  for (size_t i = 0; i < entries.size(); ++i) {
    at::Tensor whole = at::zeros(entries[i].shape, at::kFloat);
    const bool is_my_turn = static_cast<int>(i) % mesh.dp->size() == mesh.dp->rank();
    if (is_my_turn) reader.read(entries[i].name, -1, 0, 0, whole);
    writer.write(whole);
  }
  writer.commit();

  model.allocate(*mesh.tp, {});
  load_pretrained(model, folder.path(), *mesh.dp);
  EXPECT_TRUE(at::equal(model.parameters().values(), expected.parameters().values()));
}

}  // namespace
}  // namespace spt
