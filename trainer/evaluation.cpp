#include "trainer/evaluation.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <memory>
#include <optional>
#include <set>

#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/durable.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/read_file.h"
#include "base/sha256.h"
#include "base/stop.h"
#include "data/sampler.h"
#include "dist/text.h"
#include "dist/watchdog.h"
#include "trainer/eval/eval_journal.h"
#include "trainer/eval/perplexity.h"
#include "trainer/eval/results.h"
#include "trainer/eval_samples.h"
#include "trainer/model/pretrained.h"
#include "trainer/run_lock.h"
#include "trainer/same_view.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

using SampleKey = std::pair<std::string, std::string>;  // task, id

// Tokens of a pass over options: enough to fill the matrix products.
constexpr int64_t kPassTokens = 2048;

// A quarter of the host's free memory, shared by its ranks.
int64_t tokens_in_free_memory(const CausalLm& model, const Runtime& runtime) {
  constexpr int64_t kOnGpu = 65536;
  if (!runtime.device().is_cpu()) return kOnGpu;
  int64_t kilobytes = 0;
  std::ifstream file("/proc/meminfo");
  for (std::string key; file >> key;)
    if (key == "MemAvailable:") file >> kilobytes;
  const auto& hosts = runtime.hosts();
  const auto here = std::count(hosts.begin(), hosts.end(), hosts[static_cast<size_t>(runtime.rank())]);
  return std::max<int64_t>(1024, kilobytes * 1024 / 4 / here / model.cache_bytes_per_token());
}

// What rank 0 shows while all work: a bar on a terminal, a line each half minute otherwise.
class Progress {
 public:
  Progress(const fs::path& journal, int64_t done, int64_t total)
      : watch_(journal), done_(done), total_(total), bar_(done, total) {}

  void show() {
    const bool terminal = ProgressBar::has_terminal();
    if (Clock::now() - last_ < (terminal ? std::chrono::seconds(1) : std::chrono::seconds(30))) return;
    last_ = Clock::now();
    const JournalWatch::Progress& found = watch_.look();
    const int64_t done = done_ + found.samples;
    const std::string score =
        found.scored > 0 ? fmt::format("score {:.3f}", found.score / static_cast<double>(found.scored)) : "";
    if (terminal)
      bar_.draw(done, score);
    else
      spdlog::info("{} of {} items, {} left, {}", done, total_, bar_.time_left(done), score);
  }
  void end() { bar_.end_line(); }

 private:
  JournalWatch watch_;
  int64_t done_, total_;
  ProgressBar bar_;
  Clock::time_point last_ = Clock::now();
};

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
    check_same_view(runtime, {{"model " + config.model.path.string(), weights}, {"tasks", inputs_.fingerprint}});
    identity_ = sha256_hex(inputs_.fingerprint + weights + c10::toString(dtype_));
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
        found_ = read_eval_journal(journal_folder(), identity_);
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

    watch_collectives(config_.run.collective_timeout_s, "run.collective_timeout_s");
    model_.allocate(*mesh_.tp, {dtype_});
    load_pretrained(model_, config_.model.path);
    const Clock::time_point begin = Clock::now();
    measure_corpora();
    measure_items();
    seconds_ = std::chrono::duration<double>(Clock::now() - begin).count();
    watch_collectives(0, "");  // a rank with short items waits for the others, maybe for hours
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
  fs::path journal_folder() const { return config_.run.dir / "journal"; }

  // Throws BadInput where the folder holds the results of another evaluation.
  bool is_finished() const {
    const fs::path file = config_.run.dir / "results.json";
    if (std::error_code error; !fs::exists(file, error)) {
      require_writable_below(config_.run.dir, "run.dir");
      return false;
    }
    const json results = json::parse(read_file(file), nullptr, false);
    if (!results.is_object() || results.value("evaluation", "") != identity_)
      throw BadInput(fmt::format(
          "{} is of another evaluation (another model, tasks or settings); choose another run.dir", file.string()));
    fmt::print("{} is finished:\n", config_.run.dir.string());
    for (const auto& [task, result] : results["tasks"].items()) fmt::print("{}\n", describe_result(task, result));
    return true;
  }

  void measure_corpora() {
    for (size_t task = 0; task < inputs_.tasks.size(); ++task)
      if (inputs_.corpora[task]) losses_[task] = example_losses(model_, *inputs_.corpora[task], mesh_);
  }

  // This dp rank's share of what is not known yet, the longest first.
  std::vector<const EvalItem*> my_items(TaskKind kind_of_pass) const {
    std::vector<int64_t> rows, costs(inputs_.items.size(), 0);
    for (size_t i = 0; i < inputs_.items.size(); ++i) {
      const EvalItem& item = inputs_.items[i];
      const Task& task = inputs_.tasks[item.task];
      if ((task.kind == TaskKind::kChoice) != (kind_of_pass == TaskKind::kChoice)) continue;
      if (known_.contains({task.name, item.item.id})) continue;
      rows.push_back(static_cast<int64_t>(i));
      costs[i] = static_cast<int64_t>(item.item.prompt.size());
      for (const std::string& option : item.item.options) costs[i] += static_cast<int64_t>(option.size());
    }
    std::vector<const EvalItem*> mine;
    for (const int64_t row : rows_for_rank(rows, costs, mesh_.place.dp_rank, mesh_.dp->size()))
      mine.push_back(&inputs_.items[static_cast<size_t>(row)]);
    return mine;
  }

  void measure_items() {
    std::optional<EvalJournal> journal;
    if (mesh_.place.tp_rank == 0) journal.emplace(journal_folder(), mesh_.place.dp_rank, identity_);
    journal_ = journal ? &*journal : nullptr;
    if (is_rank_0())
      progress_ = std::make_unique<Progress>(journal_folder(), static_cast<int64_t>(known_.size()),
                                             static_cast<int64_t>(inputs_.items.size()));
    score_options(my_items(TaskKind::kChoice));
    answer_questions(my_items(TaskKind::kGenerate));
    if (journal) journal->sync();
    if (progress_) progress_->end();
    journal_ = nullptr;
  }

  void score_options(const std::vector<const EvalItem*>& items) {
    const int64_t most = std::min(kPassTokens, config_.eval.batch_tokens.value_or(kPassTokens));
    std::vector<ChoiceQuestion> questions;
    std::vector<const EvalItem*> pass;
    int64_t tokens = 0;
    const auto flush = [&] {
      if (pass.empty()) return;
      const auto scores = option_loglikelihoods(model_, questions);
      for (size_t i = 0; i < pass.size(); ++i) {
        for (const double score : scores[i])
          if (!std::isfinite(score))
            throw Failure(
                fmt::format("item {}: the log-likelihood of an option is not finite: the model's weights are damaged, "
                            "or training diverged",
                            pass[i]->item.id));
        keep(choice_sample(inputs_, *pass[i], scores[i]));
      }
      questions.clear();
      pass.clear();
      tokens = 0;
    };
    for (const EvalItem* item : items) {
      ChoiceQuestion question = choice_question(inputs_, *item);
      if (tokens + question.tokens() > most) {
        flush();
        if (!go_on()) return;
      }
      tokens += question.tokens();
      questions.push_back(std::move(question));
      pass.push_back(item);
    }
    flush();
  }

  void answer_questions(const std::vector<const EvalItem*>& items) {
    std::vector<Question> questions;
    for (const EvalItem* item : items)
      questions.push_back({inputs_.prompter.prompt(item->item.prompt, item->given_role), trigger_ids(inputs_, *item),
                           item->given_role.has_value()});
    AnswerConfig config;
    config.max_new_tokens = config_.eval.max_new_tokens;
    config.conclusion_tokens = config_.eval.conclusion_tokens;
    config.forbid_role = inputs_.forbid_role;
    config.limits = {config_.eval.batch_sequences,
                     config_.eval.batch_tokens.value_or(tokens_in_free_memory(model_, runtime_))};
    answer(
        model_, inputs_.prompter, inputs_.tokenizer->eos(), questions, config, [this] { return go_on(); },
        [&](size_t i, const Answer& made) { keep(answer_sample(inputs_, *items[i], made)); });
  }

  void keep(const ordered_json& sample) {
    if (journal_ == nullptr) return;
    journal_->append(sample);
    samples_.push_back(sample);
    if (progress_) progress_->show();
  }

  // One answer on all ranks that share a model. A rank that was asked to stop ends by itself; the others were asked
  // too.
  bool go_on() {
    stopped_ = stopped_ || stop_requested();
    if (mesh_.tp->size() > 1) {
      at::Tensor any = at::full({}, int64_t{stopped_}, at::TensorOptions(at::kLong).device(runtime_.device()));
      mesh_.tp->all_reduce(any, Reduce::kMax);
      stopped_ = any.item<int64_t>() != 0;
    }
    return !stopped_;
  }

  bool any_stopped() {
    at::Tensor any = at::full({}, int64_t{stopped_}, at::kLong);
    runtime_.host_world().all_reduce(any, Reduce::kMax);
    return any.item<int64_t>() != 0;
  }

  void gather() {
    json mine = json::array();
    for (const ordered_json& sample : samples_) mine.push_back(sample.dump());
    for (const std::string& part : all_gather_text(runtime_.host_world(), mine.dump()))
      if (is_rank_0())
        for (const json& sample : json::parse(part)) found_.push_back(ordered_json::parse(sample.get<std::string>()));
  }

  void write() {
    std::map<SampleKey, const ordered_json*> by_key;
    for (const ordered_json& sample : found_) by_key[{sample.at("task"), sample.at("id")}] = &sample;
    ordered_json results = {{"model", config_.model.path.string()},
                            {"evaluation", identity_},
                            {"settings", settings()},
                            {"seconds", seconds_},
                            {"tasks", ordered_json::object()}};
    for (size_t i = 0; i < inputs_.tasks.size(); ++i) {
      const std::string& name = inputs_.tasks[i].name;
      std::string lines;
      if (inputs_.corpora[i]) {
        results["tasks"][name] = write_losses(i, lines);
      } else {
        std::vector<ordered_json> samples;
        for (const EvalItem& item : inputs_.items) {
          if (item.task != i) continue;
          samples.push_back(*by_key.at({name, item.item.id}));
          samples.back().erase("task");
          lines += samples.back().dump() + "\n";
        }
        results["tasks"][name] = summarise(inputs_.tasks[i], samples);
      }
      write_durable(config_.run.dir / "samples" / (name + ".jsonl"), lines);
      fmt::print("{}\n", describe_result(name, results["tasks"][name]));
    }
    write_durable(config_.run.dir / "results.json", results.dump(2) + "\n");
    fs::remove_all(journal_folder());
  }

  ordered_json settings() const {
    const auto& eval = config_.eval;
    ordered_json settings = {{"dtype", c10::toString(dtype_)},
                             {"role", eval.role},
                             {"role_in", fields_detail::format_any(eval.role_in)},
                             {"max_new_tokens", eval.max_new_tokens},
                             {"conclusion_tokens", eval.conclusion_tokens},
                             {"limit", eval.limit ? ordered_json(*eval.limit) : ordered_json()},
                             {"seed", eval.seed}};
    if (!eval.roles_from.empty()) settings["roles_from"] = eval.roles_from.string();
    return settings;
  }

  ordered_json write_losses(size_t task, std::string& lines) const {
    const Perplexity found = perplexity(losses_.at(task));
    if (!std::isfinite(found.value))
      throw Failure(fmt::format("{}: the perplexity is {}: the model's weights are damaged, or training diverged",
                                inputs_.tasks[task].name, found.value));
    for (const ExampleLoss& loss : losses_.at(task))
      lines +=
          json{{"id", inputs_.corpora[task]->id(loss.row)}, {"nll", loss.nll}, {"trained_tokens", loss.trained_tokens}}
              .dump() +
          "\n";
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
  std::string identity_;                               // of the evaluation: what its samples depend on
  std::vector<ordered_json> found_;                    // rank 0: those of the journal, at the end all
  std::set<SampleKey> known_;                          // measured before
  std::vector<ordered_json> samples_;                  // measured by this rank
  std::map<size_t, std::vector<ExampleLoss>> losses_;  // by task
  EvalJournal* journal_ = nullptr;
  std::unique_ptr<Progress> progress_;
  bool stopped_ = false;
  double seconds_ = 0;  // that this call measured, on rank 0, without loading the model
};

}  // namespace

ExitStatus evaluate(const EvalConfig& config, Runtime& runtime) {
  return Evaluation(config, runtime).run();
}

}  // namespace spt
