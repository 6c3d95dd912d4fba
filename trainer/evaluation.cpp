#include "trainer/evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <set>

#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/durable.h"
#include "base/log.h"
#include "base/read_file.h"
#include "base/sha256.h"
#include "dist/text.h"
#include "dist/watchdog.h"
#include "trainer/deterministic.h"
#include "trainer/eval/eval_journal.h"
#include "trainer/eval/perplexity.h"
#include "trainer/eval/results.h"
#include "trainer/eval/samples.h"
#include "trainer/measure_items.h"
#include "trainer/model/pretrained.h"
#include "trainer/run_lock.h"
#include "trainer/same_view.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

class Evaluation {
 public:
  Evaluation(const EvalConfig& config, Runtime& runtime)
      : config_(config),
        runtime_(runtime),
        inputs_(load_eval_inputs(config)),
        mesh_(runtime, config.mesh),
        model_(inputs_.model, mesh_.place.tp_rank, mesh_.tp->size()),
        dtype_(scalar_type(config.model.dtype, runtime.device())) {
    check_pretrained(model_, config.model.path);
    const std::string weights = hash_folder(config.model.path);
    check_same_view(runtime, {{"model " + config.model.path.string(), weights}, {"tasks", inputs_.depends_on.dump()}});
    depends_on_ = inputs_.depends_on;
    depends_on_["model.path"] = weights;
    depends_on_["model.dtype"] = dtype_name();
    // Sums over tp ranks are taken in another order for every tp.
    if (config.eval.deterministic) depends_on_["mesh.tp"] = mesh_.tp->size();
  }

  ExitStatus run() {
    std::unique_ptr<RunLock> lock;
    std::string found;
    if (is_rank_0()) {
      if (is_finished()) {
        found = "finished";
        fs::remove_all(journal_folder());  // left by a call that was killed behind its last line
      } else {
        fs::create_directories(config_.run.dir / "samples");
        lock = std::make_unique<RunLock>(config_.run.dir);
        found_ = read_eval_journal(journal_folder(), depends_on_);
        check_found();
        json keys = json::array();
        for (const ordered_json& sample : found_) keys.push_back({sample.at("task"), sample.at("id")});
        found = keys.dump();
      }
    }
    found = broadcast_text(runtime_.host_world(), found);
    if (found == "finished") return ExitStatus::kDone;
    for (const json& key : json::parse(found)) known_.emplace(key[0].get<std::string>(), key[1].get<std::string>());
    if (is_rank_0() && !known_.empty())
      spdlog::info("{} of {} items were measured before", known_.size(), inputs_.items.size());

    model_.allocate(*mesh_.tp, {.parameters = {.dtype = dtype_}});
    load_pretrained(model_, config_.model.path, *mesh_.dp);
    watch_collectives(config_.run.collective_timeout_s, "run.collective_timeout_s");
    if (config_.eval.deterministic) make_deterministic(model_);
    const Clock::time_point begin = Clock::now();
    measured_ = measure_items(model_, inputs_, config_.eval, runtime_, mesh_, {journal_folder(), depends_on_}, known_);
    watch_collectives(0, "");  // a rank with short items waits for the others
    const at::Tensor seconds = at::full({}, std::chrono::duration<double>(Clock::now() - begin).count(), at::kDouble);
    runtime_.host_world().all_reduce(seconds, Reduce::kMax);
    seconds_ = seconds.item<double>();
    if (any_stopped()) {
      if (is_rank_0()) spdlog::info("stopped on request; start the same command again to go on");
      return ExitStatus::kStopped;
    }
    gather();
    if (is_rank_0()) write();
    return ExitStatus::kDone;
  }

 private:
  bool is_rank_0() const { return runtime_.rank() == 0; }
  std::string dtype_name() const { return dtype_ == at::kFloat ? "fp32" : "bf16"; }
  fs::path journal_folder() const { return config_.run.dir / "journal"; }

  // Throws BadInput where the folder holds the results of another evaluation.
  bool is_finished() const {
    const fs::path file = config_.run.dir / "results.json";
    if (std::error_code error; !fs::exists(file, error)) {
      require_writable_below(config_.run.dir, "run.dir");
      return false;
    }
    const auto found = read_results(config_.run.dir);
    const ordered_json results = ordered_json::parse(read_file(file));
    const json facts = results.contains("depends_on") ? json(results["depends_on"]) : json::object();
    if (const std::string differs = differing_facts(facts, depends_on_); !differs.empty())
      throw BadInput(fmt::format("{} is of another evaluation (what differs: {}); choose another run.dir",
                                 file.string(), differs));
    for (const auto& [task, result] : found) read_samples(config_.run.dir, task, result);
    fmt::print("{} is finished:\n", config_.run.dir.string());
    for (const auto& [task, result] : results.at("tasks").items()) fmt::print("{}\n", describe_result(task, result));
    return true;
  }

  // Throws BadInput: a sample of the journal that lacks what its task's kind writes.
  void check_found() const {
    for (const ordered_json& sample : found_) {
      const auto task = std::find_if(inputs_.tasks.begin(), inputs_.tasks.end(),
                                     [&](const Task& one) { return sample["task"] == one.name; });
      std::vector<std::string> lacks;
      const auto require = [&](const char* key) {
        if (!sample.contains(key)) lacks.emplace_back(key);
      };
      if (task != inputs_.tasks.end()) {
        if (task->kind == TaskKind::kPerplexity) {
          require("nll");
          require("trained_tokens");
        } else {
          require("prompt");
          require(task->kind == TaskKind::kOpen ? "output" : "score");
          if (!task->group.empty()) require("group");
        }
      }
      if (task == inputs_.tasks.end() || !lacks.empty())
        throw BadInput(
            fmt::format("{}: the sample {} of task {} is not whole ({}); remove its line to measure it again",
                        journal_folder().string(), sample["id"].dump(), sample["task"].dump(),
                        lacks.empty() ? "no such task" : "without " + fmt::format("{}", fmt::join(lacks, ", "))));
    }
  }

  bool any_stopped() {
    at::Tensor any = at::full({}, int64_t{measured_.stopped}, at::kLong);
    runtime_.host_world().all_reduce(any, Reduce::kMax);
    return any.item<int64_t>() != 0;
  }

  void gather() {
    json mine = json::array();
    for (const ordered_json& sample : measured_.samples) mine.push_back(sample.dump());
    for (const std::string& part : all_gather_text(runtime_.host_world(), mine.dump()))
      if (is_rank_0())
        for (const json& sample : json::parse(part)) found_.push_back(ordered_json::parse(sample.get<std::string>()));
  }

  void write() {
    std::map<SampleKey, const ordered_json*> by_key;
    for (const ordered_json& sample : found_) by_key[{sample.at("task"), sample.at("id")}] = &sample;
    ordered_json results = {{"model", config_.model.path.string()},
                            {"evaluation", sha256_hex(depends_on_.dump())},
                            {"depends_on", depends_on_},
                            {"settings", settings()},
                            {"seconds", seconds_},
                            {"tasks", ordered_json::object()}};
    for (size_t i = 0; i < inputs_.tasks.size(); ++i) {
      const std::string& name = inputs_.tasks[i].name;
      std::vector<ordered_json> samples;
      for (const EvalItem& item : inputs_.items) {
        if (item.task != i) continue;
        samples.push_back(*by_key.at({name, item.item.id}));
        samples.back().erase("task");
      }
      results["tasks"][name] = inputs_.corpora[i] ? summarise_losses(i, samples) : summarise(inputs_.tasks[i], samples);
      if (config_.eval.shots > 0 && !inputs_.corpora[i]) results["tasks"][name]["shots"] = config_.eval.shots;
      std::string lines;
      for (const ordered_json& sample : samples) lines += sample.dump() + "\n";
      write_durable(config_.run.dir / "samples" / (name + ".jsonl"), lines);
      fmt::print("{}\n", describe_result(name, results["tasks"][name]));
    }
    write_durable(config_.run.dir / "results.json", results.dump(2) + "\n");
    fs::remove_all(journal_folder());
  }

  ordered_json settings() const {
    const auto& eval = config_.eval;
    ordered_json settings = {{"dtype", dtype_name()},
                             {"role", eval.role},
                             {"role_in", fields_detail::format_any(eval.role_in)},
                             {"max_new_tokens", eval.max_new_tokens},
                             {"conclusion_tokens", eval.conclusion_tokens},
                             {"limit", eval.limit ? ordered_json(*eval.limit) : ordered_json()},
                             {"seed", eval.seed},
                             {"shots", eval.shots},
                             {"deterministic", eval.deterministic}};
    if (!eval.roles_from.empty()) settings["roles_from"] = eval.roles_from.string();
    return settings;
  }

  // Puts the corpus's ids in place of its rows.
  ordered_json summarise_losses(size_t task, std::vector<ordered_json>& samples) const {
    std::vector<ExampleLoss> losses;
    for (ordered_json& sample : samples) {
      losses.push_back({static_cast<int64_t>(losses.size()), sample["nll"].get<double>(), sample["trained_tokens"]});
      sample["id"] = inputs_.corpora[task]->id(losses.back().row);
    }
    const Perplexity found = perplexity(losses);
    return {{"metric", "perplexity"},
            {"value", found.value},
            {"standard_error", found.standard_error},
            {"n", found.examples}};
  }

  const EvalConfig& config_;
  Runtime& runtime_;
  EvalInputs inputs_;
  Mesh mesh_;
  CausalLm model_;
  at::ScalarType dtype_;
  json depends_on_;                  // what the samples depend on, by name
  std::vector<ordered_json> found_;  // rank 0: those of the journal, at the end all
  std::set<SampleKey> known_;        // measured before
  MeasuredItems measured_;           // by this rank
  double seconds_ = 0;               // that the slowest rank measured in this call, without loading the model
};

}  // namespace

ExitStatus evaluate(const EvalConfig& config, Runtime& runtime) {
  return Evaluation(config, runtime).run();
}

}  // namespace spt
