#include <algorithm>
#include <cctype>
#include <cmath>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "base/durable.h"
#include "base/error.h"
#include "base/read_file.h"
#include "base/sha256.h"
#include "base/stop.h"
#include "data/chat_client.h"
#include "launch/checkpoint_answers.h"
#include "launch/commands.h"
#include "launch/endpoint_options.h"
#include "launch/judge_print.h"
#include "launch/one_rank.h"
#include "launch/printable_errors.h"
#include "launch/table.h"
#include "trainer/eval/judging.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct JudgeArguments {
  JudgingOptions judging;
  std::string judge;  // empty: lima, or that of the record
  fs::path out, replay;
  double length_factor = 1.25;
  EndpointOptions endpoint;
  CheckpointOptions checkpoint;
  bool dry_run = false, json = false, tsv = false, latex = false;
};

// A path or name as a part of a folder's name.
std::string slug(const std::string& text) {
  constexpr size_t kLongest = 100;
  std::string out;
  for (const char c : text) {
    const bool is_kept = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_';
    if (is_kept)
      out += c;
    else if (!out.ends_with('-'))
      out += '-';
  }
  out.erase(0, out.find_first_not_of("-."));
  out.erase(out.find_last_not_of("-.") + 1);
  if (out.empty()) return "itself";
  return out.size() <= kLongest ? out : out.substr(0, kLongest) + "-" + sha256_hex(text).substr(0, 8);
}

// In A, so that a report of A finds it; by B's path as seen from A, which is the same wherever the study lies.
fs::path folder_for(const JudgeArguments& options, const Judge& judge, const std::string& model) {
  if (!options.out.empty()) return options.out;
  const fs::path b = fs::canonical(options.judging.b).lexically_relative(fs::canonical(options.judging.a));
  std::string name = slug(b.string()) + "-" + slug(model);
  if (judge.name() != "lima") name += "-" + slug(fs::path(judge.name()).stem().string());
  if (options.judging.keep_role) name += "-role";
  return options.judging.a / "judge" / name;
}

std::string ascii_of(const ordered_json& json) {
  // ASCII only: nothing in a name can speak to a terminal.
  return json.dump(2, ' ', true, ordered_json::error_handler_t::replace) + "\n";
}

// What two judgements must share to stand in one file.
constexpr const char* kIdentity[] = {"/format",      "/version",        "/a_evaluation",        "/b_evaluation",
                                     "/judge/model", "/judge/settings", "/judge/prompt_sha256", "/judge/keep_role"};

// The tasks that judgement.json has of earlier calls. Throws BadInput where it is of another judging.
ordered_json earlier_tasks(const fs::path& file, const ordered_json& now) {
  if (std::error_code error; !fs::exists(file, error)) return ordered_json::object();
  const ordered_json before = ordered_json::parse(read_file(file), nullptr, false);
  const auto is_same = [&](const char* pointer) {
    const ordered_json::json_pointer key(pointer);
    return before.contains(key) && before.at(key) == now.at(key);
  };
  if (!before.is_object() || !before.contains("tasks") || !before["tasks"].is_object() ||
      !std::all_of(std::begin(kIdentity), std::end(kIdentity), is_same))
    throw BadInput(fmt::format("{}: is of another judging: choose another --out, or remove it", file.string()));
  return before["tasks"];
}

// From here on replies are kept in the folder; what would be refused at the end is refused before anything is asked.
void begin(const fs::path& folder, const JudgeModel& model, Judging& judging) {
  judging.begin(folder, model);
  earlier_tasks(folder / "judgement.json", judgement_json(judging, {}));
}

void write_judgement(const fs::path& folder, const ordered_json& judged) {
  const fs::path file = folder / "judgement.json";
  const ordered_json earlier = earlier_tasks(file, judged);
  ordered_json whole = judged;
  for (const auto& [task, facts] : earlier.items())
    if (!whole["tasks"].contains(task)) whole["tasks"][task] = facts;
  const std::string text = ascii_of(whole);
  std::error_code error;
  if (!fs::exists(file, error) || read_file(file) != text) write_durable(file, text);
}

void print(const JudgeArguments& options, const Judging& judging, const Judgement& judgement) {
  if (options.json)
    fmt::print("{}", ascii_of(judgement_json(judging, judgement)));
  else if (options.tsv)
    fmt::print("{}", judgement_tsv(judging, judgement));
  else if (options.latex)
    fmt::print("{}", judgement_latex(judging, judgement));
  else
    fmt::print("{}", judgement_text(judging, judgement));
}

int64_t unanswered_pairs(const Judgement& judgement) {
  int64_t pairs = 0;
  for (const TaskJudgement& task : judgement.tasks) pairs += task.unanswered;
  return pairs;
}

// The end of either way to ask: done, or stopped on request.
ExitStatus conclude(const JudgeArguments& options, const fs::path& folder, Judging& judging) {
  if (!judging.is_done()) {
    judging.sync();
    spdlog::warn("stopped on request: {} of {} calls are done; start the same command again to go on",
                 judging.calls_done(), judging.calls());
    return ExitStatus::kStopped;
  }
  judging.require_any_reply();
  const Judgement judgement{judging.judgement(options.length_factor), options.length_factor};
  write_judgement(folder, judgement_json(judging, judgement));
  print(options, judging, judgement);
  spdlog::info("{}: {}", on_one_line((folder / "judgement.json").string()),
               tokens_and_cost(judging.usage(), options.endpoint.prices));
  if (const int64_t pairs = unanswered_pairs(judgement); pairs > 0)
    spdlog::warn("{} pairs got no answer; to ask for them alone, start the same command again", pairs);
  return ExitStatus::kDone;
}

int dry_run(const JudgeArguments& options, const Judge& judge) {
  if (!options.checkpoint.folder.empty()) require_template(options.checkpoint);
  constexpr int64_t kShown = 2;  // a pair in both orders
  Judging judging(options.judging, judge);
  const int64_t most = options.judging.limit > 0 ? judging.calls() : kShown;
  TokenUsage estimate;
  int64_t asked = 0;
  for (auto prompt = judging.next(); prompt; prompt = judging.next()) {
    estimate.prompt += estimate_tokens(*prompt, 0).prompt;
    estimate.completion += judge.config().max_new_tokens;
    if (++asked <= most) fmt::print("{}", prompt_text(asked, *prompt));
  }
  if (asked > most) fmt::print("--- and {} more; --limit N shows and counts the first N pairs alone\n", asked - most);
  fmt::print("--- nothing was asked\n  {} calls, two a pair whose answers differ\n  about {} at most\n", asked,
             tokens_and_cost(estimate, options.endpoint.prices));
  return static_cast<int>(ExitStatus::kDone);
}

// As a judgement names it: what stands behind a ? may be secret.
std::string without_query(const std::string& url) {
  return url.substr(0, url.find_first_of("?#"));
}

int judge_by_endpoint(const JudgeArguments& options, const Judge& judge) {
  const ChatEndpoint endpoint = endpoint_with_key(options.endpoint, judge.config().max_new_tokens);
  const JudgeModel model{endpoint.model, endpoint.extra, without_query(endpoint.url), false};
  Judging judging(options.judging, judge);
  const fs::path folder = folder_for(options, judge, model.name);
  if (has_record(folder)) judging.take_record(folder, model);
  if (!has_record(folder) || !judging.is_done()) {
    ChatClient client(endpoint);
    begin(folder, model, judging);
    install_stop_handlers();
    ChatProgress progress(judging.calls_done(), judging.calls(), "calls", options.endpoint.prices);
    client.run([&] { return judging.next(); },
               [&](const ChatAnswer& answer) {
                 judging.take(answer);
                 progress.show(judging.calls_done(), judging.usage());
               });
  }
  return static_cast<int>(conclude(options, folder, judging));
}

ExitStatus judge_by_ranks(const JudgeArguments& options, const Judge& judge, Runtime& runtime) {
  const int64_t max_new_tokens = judge.config().max_new_tokens;
  if (runtime.rank() != 0) {
    answer_by_checkpoint(runtime, options.checkpoint, max_new_tokens, nullptr);
    return ExitStatus::kDone;
  }
  Judging judging(options.judging, judge);
  const std::string name = options.checkpoint.folder.string();
  const fs::path folder = folder_for(options, judge, name);
  {
    std::optional<ChatProgress> progress;
    const ChatWork work{[&](const std::string&, const std::string& settings) {
                          begin(folder, {name, settings, name, true}, judging);
                          progress.emplace(judging.calls_done(), judging.calls(), "calls", options.endpoint.prices);
                        },
                        [&] { return judging.next(); },
                        [&](const ChatAnswer& answer) {
                          judging.take(answer);
                          progress->show(judging.calls_done(), judging.usage());
                        }};
    answer_by_checkpoint(runtime, options.checkpoint, max_new_tokens, &work);
  }
  return conclude(options, folder, judging);
}

int replay(const JudgeArguments& options) {
  const RecordHeader header = read_record_header(options.replay);
  const Judge judge = Judge::load(options.judge.empty() ? header.judge : options.judge);
  JudgingOptions of_record = options.judging;
  of_record.keep_role = header.keep_role;
  Judging judging(of_record, judge);
  judging.take_record(options.replay, header.model);
  const Judgement judgement{judging.judgement(options.length_factor), options.length_factor};
  print(options, judging, judgement);
  if (const int64_t pairs = unanswered_pairs(judgement); pairs > 0)
    spdlog::warn("the record lacks replies for {} pairs, which are left out", pairs);
  return static_cast<int>(ExitStatus::kDone);
}

int run_alone(const JudgeArguments& options) {
  if (!options.replay.empty()) return replay(options);
  const Judge judge = Judge::load(options.judge.empty() ? "lima" : options.judge);
  return options.dry_run ? dry_run(options, judge) : judge_by_endpoint(options, judge);
}

void check(const JudgeArguments& options) {
  const int ways =
      !options.endpoint.endpoint.url.empty() + !options.checkpoint.folder.empty() + !options.replay.empty();
  if (ways > 1 || (ways == 0 && !options.dry_run))
    throw BadInput(
        "give one of --endpoint URL (with --model NAME), --checkpoint DIR and, where a record is to be read again, "
        "--replay DIR");
  if (options.checkpoint.folder.empty() && !options.checkpoint.overrides.empty())
    throw BadInput(fmt::format("{}: two evaluation folders are judged, and mesh.* and model.dtype are for --checkpoint",
                               options.checkpoint.overrides[0]));
  if (!options.replay.empty() && options.dry_run)
    throw BadInput("--dry-run is for what costs money or time: --replay asks nothing");
  if (!(options.length_factor >= 1 && std::isfinite(options.length_factor)))
    throw BadInput(fmt::format("--length-factor is {}, must be at least 1", options.length_factor));
  check_prices(options.endpoint.prices);
}

int run(const JudgeArguments& options, int argc, char** argv) {
  check(options);
  if (options.checkpoint.folder.empty() || options.dry_run)
    return run_on_one_rank(argc, argv,
                           options.endpoint.endpoint.url.empty()
                               ? "judge without --checkpoint has no work for more"
                               : "judge --endpoint: --concurrency N is how many requests are under way",
                           [&] { return with_printable_errors([&] { return run_alone(options); }); });
  install_stop_handlers();
  return run_distributed(argc, argv, [&](Runtime& runtime) {
    return with_printable_errors(
        [&] { return judge_by_ranks(options, Judge::load(options.judge.empty() ? "lima" : options.judge), runtime); });
  });
}

}  // namespace

void add_judge(CLI::App& app, Action& action) {
  const auto options = std::make_shared<JudgeArguments>();
  CLI::App* command = app.add_subcommand("judge", "lets a model judge the answers of two evaluations in pairs");
  command->add_option("A", options->judging.a, "evaluation folder (spt eval's run.dir)")->required();
  command->add_option("B", options->judging.b, "the other one, of the same questions")->required();
  command->add_option("--tasks", options->judging.tasks, "these tasks only, divided by commas [all of kind open]")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--judge", options->judge,
                      "prompt and form of the verdict: a name in configs/judges, or a file [lima]");
  auto* keep_role = command->add_flag("--keep-role", options->judging.keep_role,
                                      "show answers as they were written, with their role");
  command->add_option("--limit", options->judging.limit, "the first pairs of each task only; 0: all")
      ->capture_default_str();
  command
      ->add_option("--length-factor", options->length_factor,
                   "answers are of matched length where their words differ by at most this factor")
      ->capture_default_str();
  auto* out = command->add_option("--out", options->out, "folder for record and judgement [A/judge/<B>-<model>]");
  command
      ->add_option("--replay", options->replay, "such a folder: the tables again from its record; asks, writes nothing")
      ->excludes(out)
      ->excludes(keep_role);
  command->add_flag("--dry-run", options->dry_run, "show prompts, tokens and cost; ask nothing, write nothing");
  auto* json = command->add_flag("--json", options->json, "as JSON, with all digits");
  auto* tsv = command->add_flag("--tsv", options->tsv, "the tables with tabs, with all digits");
  command->add_flag("--latex", options->latex, "the tables as LaTeX tabulars")->excludes(json)->excludes(tsv);
  tsv->excludes(json);
  add_endpoint_options(*command, options->endpoint);
  add_checkpoint_options(*command, options->checkpoint);
  command->footer(
      "Each pair is judged in both orders: A wins where both name its answer, B where both name B's, all else is a "
      "tie,\n"
      "as are equal answers, for which nobody is asked. Pairs to which the judge gives no verdict are left out and\n"
      "counted. Replies go into OUT/judgements.jsonl as they come: started again, nothing that is there is asked "
      "again.\n"
      "Examples:\n"
      "  spt judge runs/role/eval runs/plain/eval --tasks vicuna_open --endpoint https://api.openai.com/v1 --model "
      "gpt-4o\n"
      "  mpirun -np 8 spt judge runs/role/eval runs/plain/eval --checkpoint models/Mistral-7B-Instruct-v0.2 --template "
      "mistral_instruct\n"
      "  spt judge runs/role/eval runs/plain/eval --replay runs/role/eval/judge/plain-eval-gpt-4o --latex");
  command->callback(
      [options, &action] { action = [options](int argc, char** argv) { return run(*options, argc, argv); }; });
}

}  // namespace spt
