#include <cmath>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/durable.h"
#include "data/records.h"
#include "data/utf8.h"
#include "dist/text.h"
#include "launch/chat_model.h"
#include "launch/commands.h"
#include "launch/options.h"
#include "trainer/eval/generator.h"
#include "trainer/same_view.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct GenerateArguments {
  fs::path model, input, out;
  std::vector<std::string> prompts;
  std::string chat_template;
  SamplingConfig sampling;
  int64_t batch = 16;
  std::vector<std::string> overrides;
};

struct Question {
  std::string id, text;  // the last user turn
  std::vector<int32_t> ids;
};

class GenerateJob {
 public:
  GenerateJob(const GenerateArguments& options, Runtime& runtime)
      : options_(options),
        runtime_(runtime),
        chat_((check_options(), runtime), options.model, "--model", options.overrides) {
    if (!options.input.empty())
      check_same_view(runtime, {{"questions " + options.input.string(), hash_file_ends(options.input)}});
    if (options.chat_template != "none") {
      template_ = chat_template_of(options.model, options.chat_template);
      if (!template_) template_ = ChatTemplate::load("spt");
    }
    writes_roles_ = options.chat_template.empty() && chat_.writes_roles();
    read_questions();
  }

  void run() {
    chat_.load();
    const Mesh& mesh = chat_.mesh;
    // Every dp-th question, so that long and short ones mix; the first tp rank keeps the results.
    std::vector<Prompt> mine;
    for (size_t i = static_cast<size_t>(mesh.place.dp_rank); i < questions_.size();
         i += static_cast<size_t>(mesh.dp->size()))
      mine.push_back({questions_[i].ids, i});
    json results = json::array();
    generate(chat_.model, mine, chat_.tokenizer->eos(), options_.sampling, options_.batch,
             [&](size_t i, const Continuation& continuation) {
               if (mesh.place.tp_rank == 0)
                 results.push_back({mine[i].number, result_of(questions_[mine[i].number], continuation)});
             });
    std::vector<json> rows(questions_.size());
    chat_.watch_uneven();  // ranks with short answers may wait for hours
    for (const std::string& part : all_gather_text(runtime_.host_world(), results.dump()))
      for (json& result : json::parse(part)) rows[result[0].get<size_t>()] = std::move(result[1]);
    if (runtime_.rank() == 0) options_.out.empty() ? print(rows) : write(rows);
  }

 private:
  void check_options() const {
    if (options_.prompts.empty() == options_.input.empty())
      throw BadInput("give either --prompt TEXT or --input FILE.jsonl");
    if (!(options_.sampling.temperature >= 0 && std::isfinite(options_.sampling.temperature)))
      throw BadInput(fmt::format("--temperature is {}, must be finite and at least 0", options_.sampling.temperature));
    if (!(options_.sampling.top_p > 0 && options_.sampling.top_p <= 1))
      throw BadInput(fmt::format("--top-p is {}, must be above 0 and at most 1", options_.sampling.top_p));
    constexpr int64_t kMostNewTokens = 1'000'000'000;
    if (options_.sampling.max_new_tokens < 1 || options_.sampling.max_new_tokens > kMostNewTokens)
      throw BadInput(fmt::format("--max-new-tokens is {}, must be at least 1 and at most {}",
                                 options_.sampling.max_new_tokens, kMostNewTokens));
    if (options_.batch < 1) throw BadInput(fmt::format("--batch is {}, must be at least 1", options_.batch));
    if (!options_.out.empty() && fs::exists(options_.out))
      throw BadInput(fmt::format("{} exists; remove it or choose another --out", options_.out.string()));
    if (!options_.out.empty())
      require_writable(options_.out.has_parent_path() ? options_.out.parent_path() : fs::path("."), "--out");
  }

  void read_questions() {
    for (const std::string& prompt : options_.prompts) {
      if (prompt.find_first_not_of(" \t\r\n") == std::string::npos) throw BadInput("--prompt is empty");
      if (!is_utf8(prompt)) throw BadInput("--prompt is not UTF-8");
      add("--prompt", std::to_string(questions_.size() + 1), {prompt}, std::nullopt);
    }
    if (options_.input.empty()) return;
    RecordReader reader(options_.input, {RecordFormat::kAuto, RecordUse::kPrompts,
                                         template_ ? template_->role_prefix() : std::string()});
    while (auto record = reader.next()) {
      // As in training: a model of the role arm has read its role at the head of the first answer.
      if (writes_roles_ && record->role && record->turns.size() > 1)
        record->turns[1] = *record->role + "\n\n" + record->turns[1];
      add(fmt::format("{}:{}", options_.input.string(), record->line), record->id, record->turns, record->system);
    }
  }

  void add(const std::string& where, const std::string& id, const std::vector<std::string>& turns,
           const std::optional<std::string>& system) {
    if (!template_ && turns.size() > 1)
      throw BadInput(fmt::format("{}: question {} has several turns, which --template none cannot join", where, id));
    if (!template_ && system)
      throw BadInput(
          fmt::format("{}: question {} has a system message, for which --template none has no place", where, id));
    questions_.push_back({id, turns.back(),
                          template_ ? template_->encode_prompt(turns, system, *chat_.tokenizer)
                                    : chat_.tokenizer->encode_with_special(turns[0])});
    const size_t tokens = questions_.back().ids.size();
    const int64_t limit = chat_.max_prompt_tokens();
    if (tokens == 0 || tokens > static_cast<size_t>(limit))
      throw BadInput(fmt::format(
          "{}: the question takes {} tokens, the model 1 to {} (max_position_embeddings in config.json, less one "
          "to answer)",
          where, tokens, limit));
  }

  json result_of(const Question& question, const Continuation& continuation) const {
    RoleAndAnswer split;
    if (template_) {
      split = template_->split(continuation.ids, *chat_.tokenizer);
    } else {
      split.output = split.answer = chat_.tokenizer->decode(continuation.ids, false);
    }
    return {{"id", question.id},
            {"prompt", question.text},
            {"role", split.role ? json(*split.role) : json()},
            {"answer", split.answer},
            {"output", split.output},
            {"prompt_ids", question.ids},
            {"output_ids", continuation.ids},
            {"finish", continuation.stopped ? "stop" : "length"}};
  }

  void write(const std::vector<json>& rows) const {
    std::string text;
    for (const json& row : rows) text += row.dump() + "\n";
    write_durable(options_.out, text);
  }

  static void print(const std::vector<json>& rows) {
    const bool colour = isatty(STDOUT_FILENO) != 0;
    for (const json& row : rows) {
      if (rows.size() > 1) fmt::print("--- {}: {}\n", row["id"].get<std::string>(), row["prompt"].get<std::string>());
      if (!row["role"].is_null())
        fmt::print("{}role: {}{}\n\n", colour ? "\x1b[36m" : "", row["role"].get<std::string>(),
                   colour ? "\x1b[0m" : "");
      fmt::print("{}{}\n", row["role"].is_null() ? "" : "answer: ", row["answer"].get<std::string>());
      if (row["finish"] == "length")
        fmt::print("[cut off after {} tokens; --max-new-tokens allows more, up to the model's limit]\n",
                   row["output_ids"].size());
    }
  }

  const GenerateArguments& options_;
  Runtime& runtime_;
  ChatModel chat_;
  std::optional<ChatTemplate> template_;  // none with --template none
  bool writes_roles_ = false;             // a model of the role arm, with its own template
  std::vector<Question> questions_;
};

}  // namespace

void add_generate(CLI::App& app, Action& action) {
  const auto options = std::make_shared<GenerateArguments>();
  CLI::App* command =
      app.add_subcommand("generate", "answers questions; shows the self-written role apart from the answer");
  command->add_option("--model", options->model, "Hugging Face folder, e.g. a checkpoint's hf/")->required();
  command->add_option("--prompt", options->prompts, "a question (may be repeated)")->allow_extra_args(false);
  command->add_option("--input", options->input, "questions as JSON lines: {\"prompt\": …} or records");
  command->add_option("--out", options->out, "JSON lines with role, answer and ids, instead of text on the screen");
  command->add_option("--template", options->chat_template,
                      "NAME, FILE, or none to feed the text as it is [the model's spt.json, else spt]");
  command->add_option("--max-new-tokens", options->sampling.max_new_tokens, "limit of an output's length")
      ->capture_default_str();
  command->add_option("--temperature", options->sampling.temperature, "0: greedy")->capture_default_str();
  command->add_option("--top-p", options->sampling.top_p, "sample from the most likely tokens of this probability")
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "of the sampling")->check(seed_range())->capture_default_str();
  command->add_option("--batch", options->batch, "questions side by side on a rank")->capture_default_str();
  command->add_option("key=value", options->overrides,
                      "mesh.tp, mesh.backend, model.dtype, run.collective_timeout_s, run.io_timeout_s");
  command->footer(
      "Example: spt generate --model runs/first/checkpoints/step-000040/hf --prompt \"Why is the sky blue?\"");
  command->callback([options, &action] {
    action = [options](int argc, char** argv) {
      return run_distributed(argc, argv, [&](Runtime& runtime) {
        GenerateJob(*options, runtime).run();
        return ExitStatus::kDone;
      });
    };
  });
}

}  // namespace spt
