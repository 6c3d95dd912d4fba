#include "launch/checkpoint_answers.h"

#include <utility>

#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/sha256.h"
#include "base/stop.h"
#include "data/named_config.h"
#include "dist/text.h"
#include "launch/chat_model.h"
#include "trainer/eval/generator.h"
#include "trainer/same_view.h"

namespace spt {
namespace {

using nlohmann::json;

// One round: the prompts that rank 0 hands out, and each dp rank's share of the answers.
class Rounds {
 public:
  Rounds(Runtime& runtime, ChatModel& chat, const ChatTemplate& chat_template, const CheckpointOptions& options,
         int64_t max_new_tokens)
      : runtime_(runtime), chat_(chat), template_(chat_template), batch_(options.batch) {
    sampling_.max_new_tokens = max_new_tokens;
  }

  // The next prompts, the same on every rank; empty when the work is over. `work` is rank 0's.
  json hand_out(const ChatWork* work) {
    json prompts = json::array();
    if (work != nullptr && !runtime_.hears_stop(stop_requested())) {
      const auto most = static_cast<size_t>(batch_ * chat_.mesh.dp->size());
      while (prompts.size() < most) {
        const auto prompt = work->next();
        if (!prompt) break;
        prompts.push_back({{"number", prompt->number}, {"system", prompt->system}, {"turns", prompt->turns}});
      }
    }
    return json::parse(broadcast_text(runtime_.host_world(), prompts.dump()));
  }

  // Collective: every rank gets all answers; at a request to stop, those that are whole.
  std::vector<ChatAnswer> answer(const json& prompts) {
    std::vector<Prompt> mine;
    std::vector<ChatAnswer> answers;
    for (size_t i = static_cast<size_t>(chat_.mesh.place.dp_rank); i < prompts.size();
         i += static_cast<size_t>(chat_.mesh.dp->size())) {
      const json& prompt = prompts[i];
      const std::string system = prompt["system"];
      std::vector<int32_t> ids = template_.encode_prompt(
          prompt["turns"], system.empty() ? std::nullopt : std::optional(system), *chat_.tokenizer);
      const auto tokens = static_cast<int64_t>(ids.size());
      if (tokens > chat_.max_prompt_tokens())
        answers.push_back(
            {prompt["number"],
             "",
             {},
             fmt::format("the prompt takes {} tokens, the model at most {}", tokens, chat_.max_prompt_tokens())});
      else
        mine.push_back({std::move(ids), prompt["number"].get<uint64_t>()});
    }
    const auto answered = [&](size_t i, const Continuation& made) {
      answers.push_back({mine[i].number,
                         template_.split(made.ids, *chat_.tokenizer).output,
                         {static_cast<int64_t>(mine[i].ids.size()), static_cast<int64_t>(made.ids.size())},
                         ""});
    };
    chat_.watch_computing();
    generate(chat_.model, mine, chat_.tokenizer->eos(), sampling_, batch_, answered, [this] { return stops(); });
    chat_.watch_uneven();  // also for what rank 0 does between two rounds
    return gathered(chat_.mesh.place.tp_rank == 0 ? answers : std::vector<ChatAnswer>());
  }

 private:
  bool stops() {
    const at::Tensor asked = at::full({}, int64_t{runtime_.hears_stop(stop_requested())}, at::kLong);
    if (chat_.mesh.host_tp->size() > 1) chat_.mesh.host_tp->all_reduce(asked, Reduce::kMax);
    return asked.item<int64_t>() != 0;
  }

  std::vector<ChatAnswer> gathered(const std::vector<ChatAnswer>& mine) {
    json sent = json::array();
    for (const ChatAnswer& a : mine) sent.push_back({a.number, a.text, a.usage.prompt, a.usage.completion, a.failure});
    std::vector<ChatAnswer> all;
    for (const std::string& part : all_gather_text(runtime_.host_world(), sent.dump()))
      for (const json& a : json::parse(part)) all.push_back({a[0], a[1], {a[2], a[3]}, a[4]});
    return all;
  }

  Runtime& runtime_;
  ChatModel& chat_;
  const ChatTemplate& template_;
  SamplingConfig sampling_;
  int64_t batch_;
};

}  // namespace

ChatTemplate require_template(const CheckpointOptions& options) {
  if (auto found = chat_template_of(options.folder, options.chat_template)) return *found;
  throw BadInput(
      fmt::format("--checkpoint: {} has no spt.json, which would name its template: give --template, one of "
                  "{}, or a file",
                  options.folder.string(), fmt::join(config_names("templates"), ", ")));
}

void add_checkpoint_options(CLI::App& command, CheckpointOptions& options) {
  command.add_option("--checkpoint", options.folder, "Hugging Face folder: the program's own generator answers");
  command.add_option("--template", options.chat_template, "of --checkpoint: NAME or FILE [the folder's spt.json]");
  command.add_option("--batch", options.batch, "of --checkpoint: prompts side by side on a rank")
      ->capture_default_str();
  command.add_option("key=value", options.overrides,
                     "of --checkpoint: mesh.tp, mesh.backend, model.dtype, run.collective_timeout_s, run.io_timeout_s");
}

void answer_by_checkpoint(Runtime& runtime, const CheckpointOptions& options, int64_t max_new_tokens,
                          const ChatWork* work) {
  if (options.batch < 1) throw BadInput(fmt::format("--batch is {}, must be at least 1", options.batch));
  ChatModel chat(runtime, options.folder, "--checkpoint", options.overrides);
  const ChatTemplate chat_template = require_template(options);
  if (work != nullptr)
    work->begin(options.folder.string(), json{{"weights", hash_folder(options.folder)},
                                              {"template", sha256_hex(chat_template.text())},
                                              {"dtype", c10::toString(chat.dtype())}}
                                             .dump());
  Rounds rounds(runtime, chat, chat_template, options, max_new_tokens);
  bool is_loaded = false;
  while (true) {
    const json prompts = rounds.hand_out(work);
    if (prompts.empty()) break;
    if (!std::exchange(is_loaded, true)) chat.load();
    for (const ChatAnswer& answer : rounds.answer(prompts))
      if (work != nullptr) work->take(answer);
  }
}

}  // namespace spt
