#include "launch/judge_print.h"

#include <fmt/format.h>

#include "launch/table.h"
#include "trainer/eval/statistics.h"

namespace spt {
namespace {

using nlohmann::ordered_json;

Cell cell(const Share& share, double Share::*value) {
  return share.n > 0 ? Cell(share.*value) : Cell();
}

void add_shares(const Outcomes& outcomes, std::vector<Cell>& row) {
  for (const Share& share : {outcomes.win, outcomes.tie, outcomes.lose, outcomes.win_without_ties})
    for (double Share::*value : {&Share::share, &Share::low, &Share::high}) row.push_back(cell(share, value));
}

Table outcomes_table(const Judging& judging, const Judgement& judgement) {
  Table table;
  for (const char* name : {"judge", "task", "pairs"}) table.columns.push_back({name, true});
  for (const char* name : {"n", "A wins", "95% from", "to", "tie", "95% from", "to", "B wins", "95% from", "to",
                           "A of decided", "95% from", "to"})
    table.columns.push_back({name});
  for (const TaskJudgement& task : judgement.tasks)
    for (const bool is_matched : {false, true}) {
      const Outcomes& outcomes = is_matched ? task.length_matched : task.all;
      std::vector<Cell>& row = table.rows.emplace_back();
      for (const std::string& text :
           {judging.model().name, task.name, std::string(is_matched ? "of matched length" : "all")})
        row.emplace_back(text);
      row.emplace_back(outcomes.n);
      add_shares(outcomes, row);
    }
  return table;
}

Table judge_table(const Judging& judging, const Judgement& judgement) {
  Table table;
  for (const char* name : {"judge", "task"}) table.columns.push_back({name, true});
  for (const char* name : {"verdicts", "first", "second", "tie", "consistent", "identical", "unparsed", "unanswered",
                           "words A", "words B"})
    table.columns.push_back({name});
  for (const TaskJudgement& task : judgement.tasks) {
    std::vector<Cell>& row = table.rows.emplace_back();
    for (const std::string& text : {judging.model().name, task.name}) row.emplace_back(text);
    row.emplace_back(task.first.n);
    for (const Share& share : {task.first, task.second, task.none, task.consistent})
      row.push_back(cell(share, &Share::share));
    for (const int64_t count : {task.identical, task.unparsed, task.unanswered}) row.emplace_back(count);
    row.emplace_back(task.mean_words_a);
    row.emplace_back(task.mean_words_b);
  }
  return table;
}

std::vector<std::string> notes_of(const TaskJudgement& task, const Judging& judging) {
  std::vector<std::string> notes;
  if (const int64_t limit = judging.options().limit; limit > 0)
    notes.push_back(fmt::format("{}: the first {} pairs only (--limit)", task.name, task.pairs));
  if (task.unparsed > 0)
    notes.push_back(fmt::format("{}: {} of {} pairs are left out, because the judge gave no verdict in {} tries",
                                task.name, task.unparsed, task.pairs, judging.judge().config().attempts));
  if (task.unanswered > 0)
    notes.push_back(fmt::format("{}: {} of {} pairs are left out, because the record lacks a reply", task.name,
                                task.unanswered, task.pairs));
  if (task.all.n < kFewPairs) notes.push_back(fmt::format("{}: {} pairs only: too few to tell", task.name, task.all.n));
  if (task.length_matched.n < kFewPairs)
    notes.push_back(
        fmt::format("{}: {} pairs of matched length only: too few to tell", task.name, task.length_matched.n));
  return notes;
}

ordered_json share_json(const Share& share) {
  const auto number = [&](double value) { return share.n > 0 ? ordered_json(value) : ordered_json(); };
  return {
      {"count", share.count}, {"share", number(share.share)}, {"low", number(share.low)}, {"high", number(share.high)}};
}

ordered_json outcomes_json(const Outcomes& outcomes) {
  return {{"n", outcomes.n},
          {"win", share_json(outcomes.win)},
          {"tie", share_json(outcomes.tie)},
          {"lose", share_json(outcomes.lose)},
          {"win_rate_without_ties", share_json(outcomes.win_without_ties)}};
}

ordered_json task_json(const TaskJudgement& task, const Judging& judging) {
  const auto share = [](const Share& of) { return share_json(of)["share"]; };
  ordered_json out = outcomes_json(task.all);
  out["position_bias"] = {{"calls", task.first.n},
                          {"first", share(task.first)},
                          {"second", share(task.second)},
                          {"none", share(task.none)},
                          {"consistent", share(task.consistent)}};
  out["length_matched"] = {{"factor", task.length_factor}};
  out["length_matched"].update(outcomes_json(task.length_matched));
  out["mean_words"] = {{"a", task.mean_words_a}, {"b", task.mean_words_b}};
  out["pairs"] = task.pairs;
  out["identical"] = task.identical;
  out["unparsed"] = task.unparsed;
  out["unparsed_share"] = static_cast<double>(task.unparsed) / static_cast<double>(task.pairs);
  out["unanswered"] = task.unanswered;
  const int64_t limit = judging.options().limit;
  out["limit"] = limit > 0 ? ordered_json(limit) : ordered_json();
  out["notes"] = notes_of(task, judging);
  return out;
}

}  // namespace

std::string judgement_text(const Judging& judging, const Judgement& judgement) {
  const JudgeModel& model = judging.model();
  const Judge& judge = judging.judge();
  std::string text = fmt::format("A: {}\nB: {}\n", on_one_line(judging.options().a.string()),
                                 on_one_line(judging.options().b.string()));
  text += on_one_line(fmt::format("judge: {} ({}), prompt {} ({}), answers {} their role", model.name, model.place,
                                  judge.name(), judge.sha256().substr(0, 12),
                                  judging.options().keep_role ? "with" : "without")) +
          "\n";
  text += fmt::format(
      "each pair in both orders, disagreement is a tie; intervals: Wilson, pairs independent; of matched length: "
      "words differ by a factor of {} at most\n\n",
      judgement.length_factor);
  text += aligned_table(outcomes_table(judging, judgement)) + "\n" + aligned_table(judge_table(judging, judgement));
  std::string notes;
  for (const TaskJudgement& task : judgement.tasks)
    for (const std::string& note : notes_of(task, judging)) notes += on_one_line(note) + "\n";
  return notes.empty() ? text : text + "\n" + notes;
}

ordered_json judgement_json(const Judging& judging, const Judgement& judgement) {
  const JudgeModel& model = judging.model();
  ordered_json out = {{"format", "spt-judgement"},
                      {"version", 1},
                      {"a", judging.options().a.string()},
                      {"b", judging.options().b.string()},
                      {"a_evaluation", judging.a_evaluation()},
                      {"b_evaluation", judging.b_evaluation()}};
  out["judge"] = {{"model", model.name},
                  {model.is_checkpoint ? "checkpoint" : "endpoint", model.place},
                  {"settings", model.settings},
                  {"prompt", judging.judge().name()},
                  {"prompt_sha256", judging.judge().sha256()},
                  {"keep_role", judging.options().keep_role}};
  out["confidence"] = kConfidence;
  out["interval"] = "wilson";
  out["tasks"] = ordered_json::object();
  for (const TaskJudgement& task : judgement.tasks) out["tasks"][task.name] = task_json(task, judging);
  return out;
}

std::string judgement_tsv(const Judging& judging, const Judgement& judgement) {
  return tab_separated_table(outcomes_table(judging, judgement)) + "\n" +
         tab_separated_table(judge_table(judging, judgement));
}

std::string judgement_latex(const Judging& judging, const Judgement& judgement) {
  return latex_table(outcomes_table(judging, judgement)) + "\n" + latex_table(judge_table(judging, judgement));
}

}  // namespace spt
