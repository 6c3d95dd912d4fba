#include "trainer/evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
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
#include "base/stop.h"
#include "data/json_text.h"
#include "dist/text.h"
#include "trainer/deterministic.h"
#include "trainer/eval/eval_journal.h"
#include "trainer/eval/perplexity.h"
#include "trainer/eval/results.h"
#include "trainer/eval/samples.h"
#include "trainer/eval_samples.h"
#include "trainer/hf_folder.h"
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
    if (runtime.rank() == 0) check_pretrained(model_, config.model.path);
    if (is_rank_0() && config.eval.chat_template.empty() && !load_spt_json(config.model.path))
      spdlog::warn(
          "{} has no spt.json, which would name its template: prompts are laid out by the template spt; "
          "eval.template says another",
          config.model.path.string());
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
        if (std::error_code error; !fs::create_directories(config_.run.dir / "samples", error) && error)
          throw BadInput(
              fmt::format("{}: cannot be made: {}", (config_.run.dir / "samples").string(), error.message()));
        lock = std::make_unique<RunLock>(config_.run.dir);
        remove_stop_file(config_.run.dir);
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
    watch_files(config_.run);
    load_pretrained(model_, config_.model.path, *mesh_.dp);
    watch_computing(config_.run);
    if (config_.eval.deterministic) make_deterministic(model_);
    const Clock::time_point begin = Clock::now();
    measured_ = measure_items(model_, inputs_, config_.eval, runtime_, mesh_,
                              {config_.run.dir, journal_folder(), depends_on_}, known_);
    watch_uneven(config_.run);  // a rank with short items waits for the others
    const at::Tensor seconds = at::full({}, std::chrono::duration<double>(Clock::now() - begin).count(), at::kDouble);
    runtime_.host_world().all_reduce(seconds, Reduce::kMax);
    seconds_ = seconds.item<double>();
    if (any_stopped()) {
      if (is_rank_0()) {
        remove_stop_file(config_.run.dir);
        spdlog::info("stopped on request; start the same command again to go on");
      }
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
    std::string lines;
    for (size_t i = 0; i < inputs_.tasks.size(); ++i) {
      const std::string& name = inputs_.tasks[i].name;
      const auto stored = found.find(name);
      if (stored == found.end())
        throw BadInput(
            fmt::format("{}: lacks the task {}: the evaluation is not whole; remove results.json and start "
                        "this again, or choose another run.dir",
                        file.string(), name));
      const ordered_json result = result_of(i, stored_samples(i, stored->second));
      if (const ordered_json& written = results["tasks"][name];
          !is_same_value(written.value("value", ordered_json()), result["value"]))
        throw BadInput(
            fmt::format("{}: says that {} is {}, and its samples make it {}: the file was changed; remove it "
                        "and start this again, or choose another run.dir",
                        file.string(), name, brief(written.value("value", ordered_json())), brief(result["value"])));
      lines += describe_result(name, result) + "\n";
    }
    fmt::print("{} is finished:\n{}", config_.run.dir.string(), lines);
    return true;
  }

  // Another machine's library may round the last bit of a perplexity otherwise.
  static bool is_same_value(const ordered_json& written, const ordered_json& found) {
    if (!written.is_number() || !found.is_number()) return written == found;
    const double value = found.get<double>();
    return std::abs(written.get<double>() - value) <= 1e-9 * std::abs(value);
  }

  // Of a finished evaluation, in the order of its file.
  std::vector<ordered_json> stored_samples(size_t task, const TaskResult& result) const {
    const std::string& name = inputs_.tasks[task].name;
    read_samples(config_.run.dir, name, result);  // refuses what is broken or missing
    const fs::path file = samples_file(config_.run.dir, name);
    std::vector<ordered_json> samples;
    int64_t number = 0;
    std::ifstream stream(file, std::ios::binary);
    for (std::string line; std::getline(stream, line);) {
      samples.push_back(ordered_json::parse(line));
      ++number;
      if (const std::string fault = fault_of(inputs_.tasks[task], samples.back()); !fault.empty())
        throw BadInput(fmt::format("{}:{}: the sample is not whole ({}); remove results.json and start this again",
                                   file.string(), number, fault));
    }
    return samples;
  }

  ordered_json result_of(size_t task, const std::vector<ordered_json>& samples) const {
    return inputs_.corpora[task] ? summarise_losses(samples) : summarise(inputs_.tasks[task], samples);
  }

  // Throws BadInput: a sample of the journal that lacks what its task's kind writes.
  void check_found() const {
    for (const ordered_json& sample : found_) {
      const auto task = std::find_if(inputs_.tasks.begin(), inputs_.tasks.end(),
                                     [&](const Task& one) { return sample["task"] == one.name; });
      const std::string fault = task == inputs_.tasks.end() ? "no such task" : fault_of(*task, sample);
      if (!fault.empty())
        throw BadInput(
            fmt::format("{}: the sample {} of task {} is not whole ({}); remove its line to measure it again",
                        journal_folder().string(), brief(sample["id"]), brief(sample["task"]), fault));
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
      // In place of a corpus's rows its ids.
      if (const auto& corpus = inputs_.corpora[i])
        for (ordered_json& sample : samples) sample["id"] = corpus->id(std::stoll(sample["id"].get<std::string>()));
      results["tasks"][name] = result_of(i, samples);
      if (config_.eval.shots > 0 && !inputs_.corpora[i]) results["tasks"][name]["shots"] = config_.eval.shots;
      std::string lines;
      for (const ordered_json& sample : samples) lines += sample.dump() + "\n";
      write_durable(config_.run.dir / "samples" / (name + ".jsonl"), lines);
      fmt::print("{}\n", describe_result(name, results["tasks"][name]));
    }
    write_durable(config_.run.dir / "results.json", results.dump(2) + "\n");
    fs::remove_all(journal_folder());
  }

  // By its text: two models may bring one template.
  std::string template_name() const {
    const ChatTemplate* chat_template = inputs_.prompter.chat_template();
    return chat_template != nullptr ? "sha256 " + sha256_hex(chat_template->text()).substr(0, 12) : "none";
  }

  ordered_json settings() const {
    const auto& eval = config_.eval;
    ordered_json settings = {{"dtype", dtype_name()},
                             {"role", eval.role},
                             {"role_in", fields_detail::format_any(eval.role_in)},
                             {"template", template_name()},
                             {"max_new_tokens", eval.max_new_tokens},
                             {"conclusion_tokens", eval.conclusion_tokens},
                             {"limit", eval.limit ? ordered_json(*eval.limit) : ordered_json()},
                             {"shots", eval.shots},
                             {"deterministic", eval.deterministic}};
    if (eval.limit) settings["seed"] = eval.seed;
    if (!eval.roles_from.empty()) settings["roles_from"] = eval.roles_from.string();
    return settings;
  }

  static ordered_json summarise_losses(const std::vector<ordered_json>& samples) {
    std::vector<ExampleLoss> losses;
    for (const ordered_json& sample : samples)
      losses.push_back({static_cast<int64_t>(losses.size()), sample["nll"].get<double>(), sample["trained_tokens"]});
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
