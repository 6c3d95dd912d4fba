#include "trainer/evaluation.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/durable.h"
#include "data/tokenizer.h"
#include "trainer/eval/perplexity.h"
#include "trainer/eval/task.h"
#include "trainer/model/pretrained.h"
#include "trainer/same_view.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// One task's corpus, opened and checked before any is measured.
struct Work {
  Task task;
  std::unique_ptr<Dataset> corpus;
};

std::vector<Work> open_tasks(const EvalConfig& config, const Tokenizer& tokenizer, const ModelConfig& model) {
  std::vector<Work> work;
  for (const fs::path& file : config.eval.tasks) {
    Task task = load_task(file);
    const bool is_known =
        std::any_of(work.begin(), work.end(), [&](const Work& w) { return w.task.name == task.name; });
    if (is_known) throw BadInput(fmt::format("{}: another task is called {} too", file.string(), task.name));
    if (task.kind != TaskKind::kPerplexity)
      throw BadInput(
          fmt::format("{}: kind {} is not run by this version", file.string(), fields_detail::format_any(task.kind)));
    const fs::path path = config.eval.data.root / task.data.path;
    if (!fs::exists(path))
      throw BadInput(fmt::format("{}: its data.path {} is not below eval.data.root ({}): {} is not there",
                                 file.string(), task.data.path.string(), config.eval.data.root.string(),
                                 path.string()));
    auto corpus = std::make_unique<Dataset>(path);
    corpus->require_tokenizer(tokenizer.sha256(), config.model.path);
    corpus->verify();
    corpus->require_lengths(model.max_positions);
    work.push_back({std::move(task), std::move(corpus)});
  }
  return work;
}

// Results go where none are yet. Throws BadInput before the model is loaded.
void check_results_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / "results.json", error))
    throw BadInput(fmt::format("{} exists; choose another run.dir", (folder / "results.json").string()));
  require_writable_below(folder, "run.dir");
}

void write_samples(const fs::path& file, const Dataset& corpus, const std::vector<ExampleLoss>& losses) {
  std::string text;
  for (const ExampleLoss& loss : losses)
    text += json{{"id", corpus.id(loss.row)}, {"nll", loss.nll}, {"trained_tokens", loss.trained_tokens}}.dump() + "\n";
  write_durable(file, text);
}

}  // namespace

void evaluate(const EvalConfig& config, Runtime& runtime) {
  check_same_view(runtime, {{"model " + config.model.path.string(), hash_folder(config.model.path)}});
  const bool is_rank_0 = runtime.rank() == 0;
  if (is_rank_0) check_results_folder(config.run.dir);
  const ModelConfig model_config = load_model_config(config.model.path);
  const auto tokenizer = load_tokenizer(config.model.path);
  check_vocabulary(model_config, tokenizer->size(), config.model.path);
  const std::vector<Work> work = open_tasks(config, *tokenizer, model_config);
  Mesh mesh(runtime, config.mesh);
  CausalLm model(model_config, mesh.place.tp_rank, mesh.tp->size());
  check_pretrained(model, config.model.path);
  model.allocate(*mesh.tp, {scalar_type(config.model.dtype, runtime.device())});
  load_pretrained(model, config.model.path);

  json results = {{"model", config.model.path.string()}, {"tasks", json::object()}};
  if (is_rank_0) fs::create_directories(config.run.dir / "samples");
  for (const Work& item : work) {
    const std::vector<ExampleLoss> losses = example_losses(model, *item.corpus, mesh);
    const Perplexity found = perplexity(losses);
    if (!std::isfinite(found.value))
      throw Failure(fmt::format("{}: the perplexity is {}: the model's weights are damaged, or training diverged",
                                item.task.name, found.value));
    results["tasks"][item.task.name] = {{"metric", "perplexity"},
                                        {"value", found.value},
                                        {"standard_error", found.standard_error},
                                        {"n", found.examples}};
    if (!is_rank_0) continue;
    write_samples(config.run.dir / "samples" / (item.task.name + ".jsonl"), *item.corpus, losses);
    fmt::print("{}: perplexity {:.4f} ± {:.4f} over {} examples\n", item.task.name, found.value, found.standard_error,
               found.examples);
  }
  if (is_rank_0) write_durable(config.run.dir / "results.json", results.dump(2) + "\n");
}

}  // namespace spt
