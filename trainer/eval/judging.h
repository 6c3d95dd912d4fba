// The work of judging two evaluations: which pairs to put to the judge, what becomes of its replies. It knows neither
// endpoints nor models (data/chat.h).
//
// Every reply goes into the record, OUT/judgements.jsonl (data/journal.h), before anything is made of it. The record
// stays: with the two evaluations and the judge file, the judgement is made from it again without any model.
//
//   {"format": "spt-judgements", "version": 1, "a_evaluation", "b_evaluation", "judge_sha256", "keep_role", "model",
//    "settings", "judge", "endpoint" | "checkpoint"}
//   {"task", "id", "order", "attempt", "messages_sha256", "reply", "verdict", "prompt_tokens", "completion_tokens"}
//
// order: "ab", a's answer first, or "ba". attempt: from 1, again after a reply without a verdict. messages_sha256: of
// the conversation as a JSON list, the system text first. verdict: "first", "second" (of the answers as shown), "tie"
// or null.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "data/chat.h"
#include "data/journal.h"
#include "data/unanswered.h"
#include "trainer/eval/judge.h"
#include "trainer/eval/judgement.h"
#include "trainer/eval/open_pairs.h"

namespace spt {

struct JudgingOptions {
  std::filesystem::path a, b;
  std::vector<std::string> tasks;  // empty: all of kind open
  bool keep_role = false;          // show answers with the role that the model wrote
  int64_t limit = 0;               // the first pairs of each task only; 0: all
};

struct JudgeModel {
  std::string name;
  std::string settings;  // whatever else changes its replies, as JSON
  std::string place;     // the endpoint's URL without query, or the folder
  bool is_checkpoint = false;
};

// The header of OUT/judgements.jsonl as far as no judging can know it beforehand. Throws BadInput: no such file, or no
// record of spt judge.
struct RecordHeader {
  std::string judge;  // name or file
  bool keep_role = false;
  JudgeModel model;
};
RecordHeader read_record_header(const std::filesystem::path& folder);
bool has_record(const std::filesystem::path& folder);

class Judging {
 public:
  // Reads both folders; nothing on the disk changes. Errors as read_open_tasks.
  Judging(JudgingOptions options, const Judge& judge);

  // Takes the replies of a record. Throws BadInput, saying what differs, for one of other evaluations, another judge
  // file, model or setting, and for lines that other samples were put in.
  void take_record(const std::filesystem::path& folder, const JudgeModel& model);
  // As take_record, where there is a record; from here on replies are kept in it. Throws BadInput as Journal does.
  void begin(const std::filesystem::path& folder, const JudgeModel& model);

  // The next prompt to put; nothing when none is left or all others depend on replies that are outstanding.
  std::optional<ChatPrompt> next();
  // Records it, and asks again where it has no verdict. Throws Failure when ten prompts in a row got no reply.
  void take(const ChatAnswer& answer);
  void sync() { journal_->sync(); }
  // Throws Failure when prompts were put and not one was answered.
  void require_any_reply() const { unanswered_.require_any(); }

  // A call: a pair in one order, however often it is asked for.
  int64_t calls() const { return calls_wanted_; }
  int64_t calls_done() const { return calls_done_; }
  bool is_done() const { return calls_done_ == calls_wanted_; }
  const TokenUsage& usage() const { return usage_; }  // of all replies, the record's too

  const JudgingOptions& options() const { return options_; }
  const JudgeModel& model() const { return model_; }  // as the record names it, where it was begun
  const Judge& judge() const { return judge_; }
  const std::string& a_evaluation() const { return a_evaluation_; }
  const std::string& b_evaluation() const { return b_evaluation_; }
  // Of each task. A call without a reply so far counts as unanswered.
  std::vector<TaskJudgement> judgement(double length_factor) const;

 private:
  struct Call {
    size_t task = 0, pair = 0;
    bool is_swapped = false;
    bool is_wanted = true;  // within the limit
    bool is_done = false;
    int64_t attempts = 0;
    std::vector<Judge::Refused> refused;
    std::optional<Verdict> verdict;
  };
  nlohmann::json source(const JudgeModel& model) const;
  ChatPrompt prompt(const Call& call) const;
  void take_lines(const std::filesystem::path& path, const std::vector<JournalLine>& lines);
  void take_line(const nlohmann::json& line);
  void accept(size_t number, const std::string& reply, const TokenUsage& usage);
  void finish(Call& call);

  JudgingOptions options_;
  const Judge& judge_;
  JudgeModel model_;
  std::string a_evaluation_, b_evaluation_;
  std::vector<OpenTask> tasks_;
  std::vector<Call> calls_;  // ab and ba of each pair that is not identical, one after the other
  std::map<std::tuple<std::string, std::string, bool>, size_t> call_of_;  // by task, id, is_swapped
  std::deque<size_t> to_ask_;
  int64_t calls_wanted_ = 0, calls_done_ = 0;
  TokenUsage usage_;
  Unanswered unanswered_;
  std::unique_ptr<Journal> journal_;
};

}  // namespace spt
