#include "trainer/eval/judging.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/durable.h"
#include "base/error.h"
#include "base/fields.h"
#include "base/sha256.h"
#include "data/json_text.h"
#include "data/word_ngrams.h"
#include "trainer/eval/samples.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const JournalKind& kind() {
  static const JournalKind kind{"spt-judgements", "spt judge", "judging", "choose another --out"};
  return kind;
}

fs::path record_file(const fs::path& folder) {
  return folder / "judgements.jsonl";
}

std::string messages_sha256(const ChatPrompt& prompt) {
  json messages = json::array({prompt.system});
  for (const std::string& turn : prompt.turns) messages.push_back(turn);
  return sha256_hex(messages.dump());
}

json verdict_json(const std::optional<Verdict>& verdict) {
  return verdict ? json(fields_detail::format_any(*verdict)) : json();
}

int64_t count_words(const std::string& text) {
  return static_cast<int64_t>(words_of(text).size());
}

RecordHeader header_of(const json& header, const fs::path& folder) {
  try {
    RecordHeader read;
    read.judge = header.at("judge");
    read.keep_role = header.at("keep_role");
    read.model.is_checkpoint = header.contains("checkpoint");
    read.model.name = header.at("model");
    read.model.settings = header.at("settings");
    read.model.place = header.at(read.model.is_checkpoint ? "checkpoint" : "endpoint");
    return read;
  } catch (const json::exception& broken) {
    refuse_journal_line(record_file(folder), kind(), 1, broken.what());
  }
}

JournalContent read_record(const fs::path& folder) {
  if (!has_record(folder))
    throw BadInput(fmt::format("{}: no such file, or one without a whole line: {} holds no judging",
                               record_file(folder).string(), folder.string()));
  JournalContent content = read_journal(record_file(folder), kind());
  if (!content.header) refuse_journal_line(record_file(folder), kind(), 1, "no first line");
  return content;
}

}  // namespace

bool has_record(const fs::path& folder) {
  // Of one without a whole line, as a full disk or kill -9 leaves it, nothing is known.
  std::error_code error;
  if (!fs::is_regular_file(record_file(folder), error)) return false;
  std::ifstream file(record_file(folder), std::ios::binary);
  std::string line;
  return std::getline(file, line) && !file.eof();
}

RecordHeader read_record_header(const fs::path& folder) {
  return header_of(*read_record(folder).header, folder);
}

Judging::Judging(JudgingOptions options, const Judge& judge)
    : options_(std::move(options)),
      judge_(judge),
      a_evaluation_(evaluation_of(options_.a)),
      b_evaluation_(evaluation_of(options_.b)),
      tasks_(read_open_tasks(options_.a, options_.b, options_.tasks, options_.keep_role)) {
  if (options_.limit < 0) throw BadInput(fmt::format("--limit is {}, must be at least 0 (all)", options_.limit));
  for (size_t task = 0; task < tasks_.size(); ++task) {
    const std::vector<OpenPair>& pairs = tasks_[task].pairs;
    for (size_t pair = 0; pair < pairs.size(); ++pair) {
      if (pairs[pair].a == pairs[pair].b) continue;
      for (const bool is_swapped : {false, true}) {
        Call call;
        call.task = task;
        call.pair = pair;
        call.is_swapped = is_swapped;
        call.is_wanted = options_.limit == 0 || static_cast<int64_t>(pair) < options_.limit;
        call_of_[{tasks_[task].name, pairs[pair].id, is_swapped}] = calls_.size();
        if (call.is_wanted) to_ask_.push_back(calls_.size());
        calls_wanted_ += call.is_wanted;
        calls_.push_back(std::move(call));
      }
    }
  }
}

json Judging::source(const JudgeModel& model) const {
  return {{"a_evaluation", a_evaluation_},   {"b_evaluation", b_evaluation_}, {"judge_sha256", judge_.sha256()},
          {"keep_role", options_.keep_role}, {"model", model.name},           {"settings", model.settings}};
}

void Judging::take_record(const fs::path& folder, const JudgeModel& model) {
  const JournalContent content = read_record(folder);
  if (const std::string differs = differing_keys(*content.header, source(model)); !differs.empty())
    throw BadInput(fmt::format("{}: is of another judging (what differs: {}): {}", record_file(folder).string(),
                               differs, kind().way_out));
  model_ = header_of(*content.header, folder).model;
  take_lines(record_file(folder), content.answers);
}

void Judging::begin(const fs::path& folder, const JudgeModel& model) {
  const fs::path path = record_file(folder);
  require_writable_below(folder, "--out");
  fs::create_directories(folder);
  journal_ = std::make_unique<Journal>(
      path, kind(), source(model),
      json{{"judge", judge_.name()}, {model.is_checkpoint ? "checkpoint" : "endpoint", model.place}}, false);
  model_ = header_of(journal_->header(), folder).model;
  take_lines(path, journal_->found());
}

void Judging::take_lines(const fs::path& path, const std::vector<JournalLine>& lines) {
  for (Call& call : calls_) {
    call.attempts = 0;
    call.is_done = false;
    call.refused.clear();
    call.verdict.reset();
  }
  calls_done_ = 0;
  usage_ = {};
  for (const JournalLine& line : lines) {
    try {
      take_line(line.value);
    } catch (const json::exception& broken) {
      refuse_journal_line(path, kind(), line.number, broken.what());
    } catch (const BadInput& broken) {
      throw BadInput(fmt::format("{}:{}: {}: {}", path.string(), line.number, broken.what(), kind().way_out));
    }
  }
  // In the samples' order: `accept` has put those first that are to be asked again.
  to_ask_.clear();
  for (size_t number = 0; number < calls_.size(); ++number)
    if (calls_[number].is_wanted && !calls_[number].is_done) to_ask_.push_back(number);
}

void Judging::take_line(const json& line) {
  const std::string task = line.at("task"), id = line.at("id"), order = line.at("order");
  const auto is_this = [&](const OpenTask& known) { return known.name == task; };
  if (std::none_of(tasks_.begin(), tasks_.end(), is_this)) return;  // of a task that is not asked for now
  const auto found = call_of_.find({task, id, order == "ba"});
  if (found == call_of_.end())
    throw BadInput(fmt::format("is about the pair {} of task {}, which the samples do not ask for: they have changed",
                               brief(id), brief(task)));
  const Call& call = calls_[found->second];
  if (line.at("messages_sha256") != messages_sha256(prompt(call)))
    throw BadInput(fmt::format("the samples of task {} give another prompt for {} now: they have changed", brief(task),
                               brief(id)));
  if (call.is_done || line.at("attempt") != call.attempts + 1)
    throw BadInput(fmt::format("is attempt {} for {} of task {}, expected {}", brief(line.at("attempt")), brief(id),
                               brief(task), call.is_done ? "none" : std::to_string(call.attempts + 1)));
  const std::string reply = line.at("reply");
  if (line.at("verdict") != verdict_json(judge_.read(reply).verdict))
    throw BadInput("has another verdict than its reply gives: the line was changed");
  accept(found->second, reply, {line.at("prompt_tokens"), line.at("completion_tokens")});
}

ChatPrompt Judging::prompt(const Call& call) const {
  const OpenPair& pair = tasks_[call.task].pairs[call.pair];
  return judge_.prompt({pair.question, call.is_swapped ? pair.b : pair.a, call.is_swapped ? pair.a : pair.b},
                       call.refused);
}

std::optional<ChatPrompt> Judging::next() {
  if (to_ask_.empty()) return std::nullopt;
  const size_t number = to_ask_.front();
  to_ask_.pop_front();
  ChatPrompt next = prompt(calls_[number]);
  next.number = number;
  return next;
}

void Judging::take(const ChatAnswer& answer) {
  Call& call = calls_.at(answer.number);
  if (!answer.failure.empty()) {
    finish(call);
    unanswered_.failed(answer.failure);
    return;
  }
  unanswered_.answered();
  const OpenTask& task = tasks_[call.task];
  journal_->append({{"task", task.name},
                    {"id", task.pairs[call.pair].id},
                    {"order", call.is_swapped ? "ba" : "ab"},
                    {"attempt", call.attempts + 1},
                    {"messages_sha256", messages_sha256(prompt(call))},
                    {"reply", answer.text},
                    {"verdict", verdict_json(judge_.read(answer.text).verdict)},
                    {"prompt_tokens", answer.usage.prompt},
                    {"completion_tokens", answer.usage.completion}});
  accept(answer.number, answer.text, answer.usage);
}

void Judging::accept(size_t number, const std::string& reply, const TokenUsage& usage) {
  Call& call = calls_[number];
  ++call.attempts;
  usage_.prompt += usage.prompt;
  usage_.completion += usage.completion;
  Judge::Reading reading = judge_.read(reply);
  call.verdict = reading.verdict;
  if (!call.verdict) call.refused.push_back({reply, std::move(reading.fault)});
  if (call.verdict || call.attempts >= judge_.config().attempts)
    finish(call);
  else
    to_ask_.push_front(number);
}

void Judging::finish(Call& call) {
  call.is_done = true;
  calls_done_ += call.is_wanted;
}

std::vector<TaskJudgement> Judging::judgement(double length_factor) const {
  std::vector<TaskJudgement> judged;
  for (const OpenTask& task : tasks_) {
    std::vector<JudgedPair> pairs;
    for (const OpenPair& pair : task.pairs) {
      if (options_.limit > 0 && static_cast<int64_t>(pairs.size()) == options_.limit) break;
      JudgedPair& now = pairs.emplace_back();
      now.words_a = count_words(pair.a);
      now.words_b = count_words(pair.b);
      now.identical = pair.a == pair.b;
      if (now.identical) continue;
      const Call &ab = calls_[call_of_.at({task.name, pair.id, false})],
                 &ba = calls_[call_of_.at({task.name, pair.id, true})];
      now.ab = ab.verdict;
      now.ba = ba.verdict;
      const auto lacks_reply = [&](const Call& call) {
        return !call.verdict && call.attempts < judge_.config().attempts;
      };
      now.unanswered = lacks_reply(ab) || lacks_reply(ba);
    }
    judged.push_back(judge_pairs(task.name, pairs, length_factor));
  }
  return judged;
}

}  // namespace spt
