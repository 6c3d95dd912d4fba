#include "trainer/saver.h"

#include <fmt/format.h>

#include "base/add_seconds.h"
#include "base/log.h"
#include "trainer/hf_folder.h"
#include "trainer/model/pretrained.h"
#include "trainer/optimizer_state.h"

namespace spt {

using Clock = std::chrono::steady_clock;

bool Saver::save(int64_t step, bool is_last) {
  if (save_) {
    const auto start = Clock::now();
    const int64_t before = save_->step;
    finish(false);
    spdlog::info("step {} waited {:.1f} s until the checkpoint of step {} was written", step, seconds_since(start),
                 before);
  }
  watch_files(run_.config.run);
  const bool in_background = run_.config.checkpoint.background && !is_last;
  bool saved = false;
  try {
    begin(step, in_background);
    saved = in_background || finish(is_last);
  } catch (const NotSaved& reason) {
    not_saved(step, is_last, reason);
  }
  watch_computing(run_.config.run);
  return saved;
}

void Saver::begin(int64_t step, bool in_background) {
  const auto start = Clock::now();
  if (!run_.checkpoints.begin(step)) return;  // it is there
  Save& save = save_.emplace(step, run_.checkpoints.partial_path(step), in_background, start);
  const MeshPlace& place = run_.mesh.place;
  const RunInputs& inputs = run_.inputs;
  if (place.dp_rank == 0) save_weights(save.writer, "hf/", run_.model, *run_.mesh.tp);
  if (step < inputs.total_steps || run_.config.checkpoint.final_optimizer)
    save_optimizer_state(save.writer, "optimizer/", run_.model.parameters(), run_.optimizer, place.dp_rank,
                         place.tp_rank);
  if (run_.runtime.rank() == 0) {
    const CorpusInfo& corpus = inputs.train->info();
    save_model_files(
        save.writer, "hf/", inputs.model_files, run_.model.parameters().values().scalar_type(), *inputs.tokenizer,
        inputs.chat_template,
        {corpus.arm == "role" ? Arm::kRole : Arm::kPlain, corpus.template_text, corpus.content_sha256, step});
  }
  save.writer.start();
  save.stopped = seconds_since(start);
}

bool Saver::finish(bool is_last) {
  if (!save_) return true;
  watch_files(run_.config.run);
  const auto start = Clock::now();
  const int64_t step = save_->step;
  WrittenFiles written = save_->writer.written();
  if (!written.failure.empty())
    written.failure = fmt::format("rank {}@{}: {}", run_.runtime.rank(),
                                  run_.runtime.hosts()[static_cast<size_t>(run_.runtime.rank())], written.failure);
  bool saved = false;
  try {
    run_.checkpoints.commit(step, written);
    saved = true;
    run_.checkpoints.prune(run_.config.checkpoint.keep);
    spdlog::info("saved {} in {:.1f} s (training stopped for {:.2f} s)", run_.checkpoints.path(step).string(),
                 seconds_since(save_->start), save_->stopped + seconds_since(start));
  } catch (const NotSaved& reason) {
    not_saved(step, is_last, reason);
  }
  save_.reset();
  watch_computing(run_.config.run);
  return saved;
}

void Saver::not_saved(int64_t step, bool is_last, const NotSaved& reason) const {
  const std::optional<int64_t> newest = run_.checkpoints.newest();
  const std::string text =
      fmt::format("step {} is not saved: {}; {}", step, reason.what(),
                  newest ? fmt::format("the newest whole checkpoint is {}", run_.checkpoints.path(*newest).string())
                         : "there is no checkpoint yet");
  if (is_last) throw Failure(text + "; the same command goes on when the reason is gone");
  if (run_.runtime.rank() == 0) spdlog::warn("{}; training goes on, the next save tries again", text);
}

}  // namespace spt
