// dump_logits MODEL_DIR OUT.safetensors [fp32|bf16]
//
// Our logits of a model folder for a fixed ragged batch of four examples: ids int64 [T], starts int32 [n+1], logits
// fp32 [T, vocab]. bf16: weights and arithmetic. Under mpirun all ranks share the model (tp).
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include "data/safetensors.h"
#include "dist/mesh.h"
#include "trainer/model/causal_lm.h"
#include "trainer/model/pretrained.h"

namespace {

using namespace spt;

// Lengths 1 to 90; ids from all over the vocabulary.
at::Tensor starts_of_batch() {
  return at::tensor({0, 1, 18, 51, 141}, at::kInt);
}
at::Tensor ids_of_batch(int64_t vocab) {
  return at::arange(141, at::kLong).mul(7919).add(13).remainder(vocab);
}

void dump(const std::filesystem::path& folder, const std::filesystem::path& out, at::ScalarType dtype,
          Runtime& runtime) {
  Mesh mesh(runtime, {.tp = runtime.size()});
  CausalLm model(load_model_config(folder), mesh.place.tp_rank, mesh.tp->size());
  model.allocate(*mesh.tp, {dtype});
  load_pretrained(model, folder);
  at::NoGradGuard no_grad;
  const at::Tensor ids = ids_of_batch(model.config().vocab_size), starts = starts_of_batch();
  const at::Tensor logits = model.logits(model.hidden(ids, starts)).cpu().contiguous();
  if (runtime.rank() != 0) return;
  SafetensorsWriter writer(out,
                           {{"ids", at::kLong, ids.sizes().vec()},
                            {"starts", at::kInt, starts.sizes().vec()},
                            {"logits", at::kFloat, logits.sizes().vec()}},
                           {});
  for (const at::Tensor& tensor : {ids, starts, logits}) writer.write(tensor);
  writer.commit();
}

}  // namespace

int main(int argc, char** argv) {
  return run_distributed(argc, argv, [&](Runtime& runtime) {
    const std::string dtype = argc > 3 ? argv[3] : "fp32";
    if (argc < 3 || argc > 4 || (dtype != "fp32" && dtype != "bf16"))
      throw BadInput("usage: dump_logits MODEL_DIR OUT.safetensors [fp32|bf16]");
    dump(argv[1], argv[2], dtype == "bf16" ? at::kBFloat16 : at::kFloat, runtime);
    return ExitStatus::kDone;
  });
}
