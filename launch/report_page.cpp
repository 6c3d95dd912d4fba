#include "launch/report_page.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "base/sha256.h"
#include "base/version.h"
#include "data/json_text.h"
#include "data/lengths.h"
#include "data/printable.h"
#include "data/text_hash.h"
#include "launch/report_assets.h"

namespace spt {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kCurvePoints = 3000;
constexpr int64_t kLengthBins = 30;

ordered_json text_or_null(const std::optional<std::string>& text) {
  return text ? ordered_json(printable(*text)) : ordered_json();
}

template <class T>
ordered_json or_null(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

ordered_json table_facts(const Table& table) {
  ordered_json columns = ordered_json::array();
  for (const Table::Column& column : table.columns)
    columns.push_back({{"name", printable(column.name)}, {"is_text", column.is_text}});
  return {{"columns", std::move(columns)}, {"rows", rounded_cells(table)}};
}

ordered_json curve_facts(const ReportRun& run, size_t arm) {
  const std::vector<MetricsRow> rows = thinned(run.training->rows, kCurvePoints);
  ordered_json facts = {
      {"name", printable(run.name)}, {"arm", arm}, {"steps", run.training->rows.size()}, {"shown", rows.size()}};
  for (const char* key : {"step", "loss", "valid_loss", "grad_norm", "lr", "tokens_per_second", "mfu"})
    facts[key] = ordered_json::array();
  for (const MetricsRow& row : rows) {
    facts["step"].push_back(row.step);
    facts["loss"].push_back(row.loss);
    facts["valid_loss"].push_back(or_null(row.valid_loss));
    facts["grad_norm"].push_back(row.grad_norm);
    facts["lr"].push_back(row.lr);
    facts["tokens_per_second"].push_back(row.tokens_per_second);
    facts["mfu"].push_back(or_null(row.mfu));
  }
  return facts;
}

ordered_json score_facts(const TaskScore& score) {
  return {{"task", printable(score.name)},
          {"metric", printable(score.metric)},
          {"lower", score.is_lower_better},
          {"n", score.items},
          {"value", score.value},
          {"low", score.interval ? ordered_json(score.interval->low) : ordered_json()},
          {"high", score.interval ? ordered_json(score.interval->high) : ordered_json()}};
}

ordered_json evaluation_facts(const ReportEvaluation& evaluation, size_t arm) {
  ordered_json facts = {{"name", printable(evaluation.facts.name)}, {"arm", arm}};
  facts["scores"] = ordered_json::array();
  for (const TaskScore& score : evaluation.scores) facts["scores"].push_back(score_facts(score));
  facts["mean"] = evaluation.mean ? score_facts(*evaluation.mean) : ordered_json();
  RoleStatistics all;
  facts["outputs"] = ordered_json::array();
  for (const auto& [task, roles] : evaluation.roles) {
    all.add(roles);
    facts["outputs"].push_back({{"task", printable(task)},
                                {"answers", roles.answers},
                                {"with_role", roles.with_role},
                                {"asked_to_extract", roles.asked_to_extract},
                                {"nothing_extracted", roles.nothing_extracted},
                                {"cut", roles.cut}});
  }
  facts["role_words"] = ordered_json::array();
  for (const HistogramBin& bin : histogram(all.words, kLengthBins))
    facts["role_words"].push_back({bin.begin, bin.end, bin.count});
  return facts;
}

ordered_json difference_facts(const TaskComparison& task) {
  ordered_json facts = {{"task", printable(task.name)},   {"metric", printable(task.metric)},
                        {"lower", task.is_lower_better},  {"n", task.items},
                        {"pairs", ordered_json::array()}, {"over_seeds", nullptr}};
  for (const PairComparison& pair : task.pairs)
    facts["pairs"].push_back({{"value", pair.difference.value},
                              {"low", pair.difference.low},
                              {"high", pair.difference.high},
                              {"p", pair.difference.p},
                              {"p_holm", or_null(pair.p_holm)}});
  if (const auto& over = task.over_seeds)
    facts["over_seeds"] = {
        {"value", over->difference.mean}, {"low", over->difference.low}, {"high", over->difference.high}};
  return facts;
}

ordered_json comparison_facts(const ReportComparison& comparison) {
  ordered_json facts = {{"name", printable(compared_name(comparison))},
                        {"a", printable(comparison.a)},
                        {"b", printable(comparison.b)},
                        {"a_side", comparison.a_side},
                        {"b_side", comparison.b_side},
                        {"tasks", ordered_json::array()},
                        {"notes", ordered_json::array()}};
  for (const TaskComparison& task : comparison.found.tasks) facts["tasks"].push_back(difference_facts(task));
  facts["mean"] = comparison.found.mean ? difference_facts(*comparison.found.mean) : ordered_json();
  for (const std::string& note : comparison.found.notes) facts["notes"].push_back(printable(note));
  return facts;
}

ordered_json shares_facts(const JudgedShares& shares) {
  return {{"n", shares.n},
          {"win", {shares.win.share, shares.win.low, shares.win.high}},
          {"tie", {shares.tie.share, shares.tie.low, shares.tie.high}},
          {"lose", {shares.lose.share, shares.lose.low, shares.lose.high}}};
}

ordered_json judgement_facts(const ReportJudgement& judgement) {
  ordered_json facts = {{"a", printable(judgement.a)},         {"b", printable(judgement.b)},
                        {"judge", printable(judgement.judge)}, {"place", printable(judgement.place)},
                        {"a_side", or_null(judgement.a_side)}, {"b_side", or_null(judgement.b_side)},
                        {"keep_role", judgement.keep_role},    {"tasks", ordered_json::array()},
                        {"notes", ordered_json::array()}};
  for (const JudgedTask& task : judgement.tasks) {
    facts["tasks"].push_back(
        {{"task", printable(task.name)},
         {"all", shares_facts(task.all)},
         {"length_matched", task.length_matched ? shares_facts(*task.length_matched) : ordered_json()}});
    for (const std::string& note : task.notes) facts["notes"].push_back(printable(note));
  }
  return facts;
}

// ---- samples --------------------------------------------------------------------------------------------------------

// The places of a task's samples that are shown, ascending.
std::vector<size_t> shown_places(const std::vector<AnsweredSample>& samples, std::optional<int64_t> most) {
  std::vector<size_t> places(samples.size());
  for (size_t i = 0; i < places.size(); ++i) places[i] = i;
  if (!most || static_cast<size_t>(*most) >= places.size()) return places;
  std::sort(places.begin(), places.end(),
            [&](size_t x, size_t y) { return text_hash(samples[x].id) < text_hash(samples[y].id); });
  places.resize(static_cast<size_t>(*most));
  std::sort(places.begin(), places.end());
  return places;
}

ordered_json item_facts(const AnsweredSample& sample) {
  ordered_json facts = {{"id", printable(sample.id)}, {"prompt", printable(sample.prompt)}};
  if (sample.group) facts["group"] = printable(*sample.group);
  if (!sample.gold.empty()) {
    const json gold = json::parse(sample.gold, nullptr, false);
    facts["gold"] = printable(gold.is_string() ? gold.get<std::string>() : sample.gold);
  }
  if (!sample.options.empty())
    for (const json& option : json::parse(sample.options, nullptr, false))
      facts["options"].push_back(printable(option.is_string() ? option.get<std::string>() : option.dump()));
  return facts;
}

// What is not there is left out.
ordered_json answer_facts(const AnsweredSample& sample, bool has_score) {
  ordered_json facts = ordered_json::object();
  if (has_score) facts["score"] = sample.score;
  if (sample.role) facts["role"] = printable(*sample.role);
  if (sample.role_is_given) facts["given"] = true;
  if (sample.answer) facts["answer"] = printable(*sample.answer);
  if (sample.conclusion && !sample.conclusion->empty()) facts["conclusion"] = printable(*sample.conclusion);
  if (sample.asks_for_extraction) facts["extracted"] = text_or_null(sample.extracted);
  if (sample.cut.value_or(false)) facts["cut"] = true;
  if (sample.outcome) facts["outcome"] = printable(*sample.outcome);
  if (!sample.loglikelihoods.empty()) facts["loglikelihoods"] = sample.loglikelihoods;
  return facts;
}

std::string data_block(const std::string& id, const ordered_json& value) {
  return fmt::format("<script type=\"application/json\" id=\"{}\">{}</script>\n", id, script_json(value));
}

// Blocks items-T (what was asked) and answers-T-E (what evaluation E answered), so that a task is read only when it is
// looked at. `tasks` gets the list of tasks.
std::string sample_blocks(const Report& report, std::optional<int64_t> most, ordered_json& tasks) {
  std::set<std::string> names;
  for (const ReportEvaluation& evaluation : report.evaluations)
    for (const auto& [name, samples] : evaluation.samples) names.insert(name);
  std::string blocks;
  for (const std::string& name : names) {
    const size_t number = tasks.size();
    ordered_json& task =
        tasks.emplace_back(ordered_json{{"name", printable(name)}, {"evaluations", ordered_json::array()}});
    for (size_t i = 0; i < report.evaluations.size(); ++i) {
      const auto found = report.evaluations[i].samples.find(name);
      if (found == report.evaluations[i].samples.end()) continue;
      const std::vector<AnsweredSample>& samples = found->second;
      const std::vector<size_t> places = shown_places(samples, most);
      ordered_json items = ordered_json::array(), answers = ordered_json::array();
      const bool has_score = report.evaluations[i].facts.results.at(name).has_scores();
      for (const size_t place : places) {
        answers.push_back(answer_facts(samples[place], has_score));
        if (task["evaluations"].empty()) items.push_back(item_facts(samples[place]));
      }
      if (task["evaluations"].empty()) {
        task["n"] = samples.size();
        task["shown"] = places.size();
        task["has_scores"] = has_score;
        blocks += data_block(fmt::format("items-{}", number), items);
      }
      task["evaluations"].push_back(i);
      blocks += data_block(fmt::format("answers-{}-{}", number, i), answers);
    }
  }
  return blocks;
}

// ---- the page -------------------------------------------------------------------------------------------------------

// Nothing is loaded from anywhere; scripts run by their hashes. Styles are open because the charts' library sets them.
std::string policy(std::initializer_list<std::string_view> scripts) {
  std::string text =
      "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; "
      "script-src";
  for (const std::string_view script : scripts) text += fmt::format(" 'sha256-{}'", sha256_base64(script));
  return text;
}

// `page` with each {{name}} replaced by its value, once, and values left as they are.
std::string filled(std::string_view page, const std::vector<std::pair<std::string, std::string_view>>& values) {
  std::string out;
  for (const auto& [name, value] : values) {  // in the order of their places
    const std::string mark = "{{" + name + "}}";
    const size_t place = page.find(mark);
    out.append(page.substr(0, place)).append(value);
    page.remove_prefix(place + mark.size());
  }
  return out.append(page);
}

}  // namespace

std::string report_page(const Report& report, const std::vector<ReportTable>& tables, const PageOptions& options) {
  ordered_json data = {{"made", options.made},
                       {"program", fmt::format("spt {} ({})", kVersion, kGitCommit)},
                       {"resamples", report.options.resampling.count},
                       {"seed", report.options.resampling.seed},
                       {"warnings", ordered_json::array()},
                       {"runs", ordered_json::array()},
                       {"curves", ordered_json::array()},
                       {"evaluations", ordered_json::array()},
                       {"comparisons", ordered_json::array()},
                       {"judgements", ordered_json::array()},
                       {"expert_ends", ordered_json::array()},
                       {"tables", ordered_json::object()},
                       {"tasks", ordered_json::array()}};
  for (const std::string& warning : report.warnings) data["warnings"].push_back(printable(warning));
  for (size_t i = 0; i < report.runs.size(); ++i) {
    data["runs"].push_back({{"name", printable(report.runs[i].name)}, {"arm", report.arms[i]}});
    if (report.runs[i].training && !report.runs[i].training->rows.empty())
      data["curves"].push_back(curve_facts(report.runs[i], report.arms[i]));
  }
  for (const ReportEvaluation& evaluation : report.evaluations)
    data["evaluations"].push_back(evaluation_facts(evaluation, report.arms[evaluation.facts.run]));
  for (const ReportComparison& comparison : report.comparisons)
    data["comparisons"].push_back(comparison_facts(comparison));
  for (const ReportJudgement& judgement : report.judgements) data["judgements"].push_back(judgement_facts(judgement));
  for (const std::string_view word : kExpertEnds) data["expert_ends"].push_back(word);
  for (const ReportTable& table : tables) data["tables"][table.name] = table_facts(table.table);
  std::string blocks = sample_blocks(report, options.samples, data["tasks"]);
  blocks = data_block("report", data) + blocks;
  return filled(kReportPage, {{"policy", policy({options.plotly, kReportScript})},
                              {"style", kReportStyle},
                              {"data", blocks},
                              {"charts", options.plotly},
                              {"script", kReportScript}});
}

}  // namespace spt
