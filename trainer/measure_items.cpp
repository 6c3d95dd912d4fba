#include "trainer/measure_items.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <fstream>
#include <future>
#include <memory>
#include <optional>

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/stop.h"
#include "dist/cuda_device.h"
#include "dist/work_queue.h"
#include "trainer/eval/eval_journal.h"
#include "trainer/eval/perplexity.h"
#include "trainer/eval_samples.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

// Tokens of a pass over options: enough to fill the matrix products.
constexpr int64_t kPassTokens = 2048;

// A quarter of the host's free memory, or half of a GPU's, shared by its ranks. The ranks of a model need one answer,
// though each sees another amount.
int64_t tokens_in_free_memory(const CausalLm& model, const Runtime& runtime, Communicator& tp) {
  int64_t bytes = 0;
  if (runtime.device().is_cpu()) {
    std::ifstream file("/proc/meminfo");
    for (std::string key; file >> key;)
      if (key == "MemAvailable:") file >> bytes;
    bytes *= 1024 / 4;
  } else {
    bytes = cuda_free_memory_bytes() / 2;
  }
  const int64_t tokens = std::max<int64_t>(1024, bytes / runtime.ranks_on_device() / model.cache_bytes_per_token());
  const at::Tensor least = at::full({}, -tokens, at::TensorOptions(at::kLong).device(tp.device()));
  tp.all_reduce(least, Reduce::kMax);
  return -least.item<int64_t>();
}

// What rank 0 shows while all work: a bar on a terminal, a line each half minute otherwise.
class Progress {
 public:
  Progress(const fs::path& journal, int64_t done, int64_t total)
      : watch_(journal), done_(done), total_(total), bar_(done, total, 1 + (total - done) / 20) {}

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

class Measuring {
 public:
  Measuring(CausalLm& model, const EvalInputs& inputs, const EvalConfig::Eval& config, Runtime& runtime,
            const Mesh& mesh, const JournalPlace& journal, const std::set<SampleKey>& known)
      : model_(model),
        inputs_(inputs),
        config_(config),
        runtime_(runtime),
        mesh_(mesh),
        portions_(portions_of(inputs, known, std::min(kPassTokens, config.batch_tokens.value_or(kPassTokens)),
                              !config.deterministic, mesh.dp->size())),
        queue_(runtime, mesh, static_cast<int64_t>(portions_.size())),
        run_(journal.run) {
    if (mesh.place.tp_rank == 0) journal_.emplace(journal.folder, mesh.place.dp_rank, journal.depends_on);
    if (runtime.rank() == 0)
      progress_.emplace(journal.folder, static_cast<int64_t>(known.size()), static_cast<int64_t>(inputs.items.size()));
  }

  MeasuredItems run() {
    std::optional<int64_t> portion;
    while (go_on() && (portion = queue_.take()) && is_pass(*portion)) pass(*portion);
    if (portion && !is_pass(*portion)) answer_questions(*portion);
    queue_.close();
    keep_finished(0);
    if (journal_) journal_->sync();
    if (progress_) progress_->end();
    return std::move(measured_);
  }

 private:
  bool is_pass(int64_t portion) const { return portions_[static_cast<size_t>(portion)].is_pass; }

  void pass(int64_t portion) {
    const std::vector<size_t>& items = portions_[static_cast<size_t>(portion)].items;
    if (const auto& corpus = inputs_.corpora[inputs_.items[items[0]].task]) {
      for (const size_t i : items) {
        const EvalItem& item = inputs_.items[i];
        const ExampleLoss loss = example_loss(model_, *corpus, std::stoll(item.item.id));
        if (!std::isfinite(loss.nll))
          throw Failure(
              fmt::format("{}: the perplexity of {} is {}: the model's weights are damaged, or training diverged",
                          inputs_.tasks[item.task].name, corpus->id(loss.row), loss.nll));
        keep(loss_sample(inputs_, item, loss));
      }
    } else {
      score_options(items);
    }
  }

  void score_options(const std::vector<size_t>& items) {
    std::vector<ChoiceQuestion> questions;
    for (const size_t i : items) questions.push_back(choice_question(inputs_, inputs_.items[i]));
    const auto scores = option_loglikelihoods(model_, questions, config_.deterministic ? nullptr : &shared_);
    for (size_t i = 0; i < items.size(); ++i) {
      const EvalItem& item = inputs_.items[items[i]];
      for (const double score : scores[i])
        if (!std::isfinite(score))
          throw Failure(
              fmt::format("item {}: the log-likelihood of an option is not finite: the model's weights are damaged, "
                          "or training diverged",
                          item.item.id));
      keep(choice_sample(inputs_, item, scores[i]));
    }
  }

  void answer_questions(int64_t first) {
    shared_ = {};
    AnswerConfig config;
    config.max_new_tokens = config_.max_new_tokens;
    config.conclusion_tokens = config_.conclusion_tokens;
    config.forbid_role = inputs_.forbid_role;
    config.limits = {config_.batch_sequences,
                     config_.batch_tokens ? *config_.batch_tokens : tokens_in_free_memory(model_, runtime_, *mesh_.tp),
                     !config_.deterministic};
    std::optional<int64_t> portion = first;
    const auto next = [&](bool wait) -> std::optional<Question> {
      if (!portion) portion = queue_.take(wait);
      if (!portion) return std::nullopt;
      const size_t i = portions_[static_cast<size_t>(*portion)].items[0];
      portion.reset();
      const EvalItem& item = inputs_.items[i];
      return Question{i, prompt_ids(inputs_, item), trigger_ids(inputs_, item),
                      item.given_role && config_.role_in == RoleIn::kAssistant};
    };
    answer(model_, inputs_.prompter, inputs_.tokenizer->eos(), config,
           {next, [this](size_t i, const Answer& made) { keep_answer(inputs_.items[i], made); },
            [this] { return go_on(); }});
  }

  // Code that was written runs beside the model's next steps.
  void keep_answer(const EvalItem& item, const Answer& made) {
    if (!journal_) return;
    if (inputs_.tasks[item.task].kind != TaskKind::kCode) {
      keep(answer_sample(inputs_, item, made));
      return;
    }
    keep_finished(static_cast<size_t>(std::max(1, at::get_num_threads())) - 1);
    running_.push_back(
        std::async(std::launch::async, [this, &item, made] { return answer_sample(inputs_, item, made); }));
  }

  // Waits until at most `running` pieces of code run.
  void keep_finished(size_t running) {
    const auto has_ended = [](const std::future<ordered_json>& sample) {
      return sample.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    };
    while (!running_.empty() && (running_.size() > running || has_ended(running_.front()))) {
      keep(running_.front().get());
      running_.pop_front();
    }
  }

  void keep(const ordered_json& sample) {
    if (!journal_) return;
    journal_->append(sample);
    measured_.samples.push_back(sample);
    if (progress_) progress_->show();
  }

  // One answer on all ranks that share a model.
  bool go_on() {
    queue_.serve();
    keep_finished(running_.size());
    measured_.stopped = runtime_.hears_stop(measured_.stopped || stop_requested() || stop_file());
    if (mesh_.tp->size() > 1) {
      at::Tensor any = at::full({}, int64_t{measured_.stopped}, at::kLong);
      mesh_.host_tp->all_reduce(any, Reduce::kMax);
      measured_.stopped = any.item<int64_t>() != 0;
    }
    return !measured_.stopped;
  }

  // Looked for now and then, by each rank: they do not wait for each other.
  bool stop_file() {
    if (Clock::now() < next_look_) return false;
    next_look_ = Clock::now() + std::chrono::milliseconds(200);
    return stop_file_in(run_);
  }

  CausalLm& model_;
  const EvalInputs& inputs_;
  const EvalConfig::Eval& config_;
  Runtime& runtime_;
  const Mesh& mesh_;
  std::vector<Portion> portions_;
  WorkQueue queue_;
  std::optional<EvalJournal> journal_;             // of the first tp rank
  std::optional<Progress> progress_;               // of rank 0
  SharedPrefix shared_;                            // of passes
  std::deque<std::future<ordered_json>> running_;  // code under test
  MeasuredItems measured_;
  std::filesystem::path run_;
  Clock::time_point next_look_;
};

}  // namespace

MeasuredItems measure_items(CausalLm& model, const EvalInputs& inputs, const EvalConfig::Eval& config, Runtime& runtime,
                            const Mesh& mesh, const JournalPlace& journal, const std::set<SampleKey>& known) {
  return Measuring(model, inputs, config, runtime, mesh, journal, known).run();
}

}  // namespace spt
