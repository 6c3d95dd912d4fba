#include "launch/report_tables.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/compare_print.h"
#include "trainer/report_warnings.h"

namespace spt {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kExperts = 20;

std::vector<Table::Column> text_columns(std::initializer_list<const char*> names) {
  std::vector<Table::Column> columns;
  for (const char* name : names) columns.push_back({name, true});
  return columns;
}

void add_columns(Table& table, std::initializer_list<const char*> names) {
  for (const char* name : names) table.columns.push_back({name});
}

double share(int64_t count, int64_t of) {
  return static_cast<double>(count) / static_cast<double>(of);
}

// JSON as a cell: text without its quotes.
template <class Json>
Cell cell_of(const Json& value) {
  if (value.is_null()) return {};
  if (value.is_string()) return value.template get<std::string>();
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// ---- runs -----------------------------------------------------------------------------------------------------------

// The different values of a field of the manifest's ranks.
Cell of_ranks(const TrainingFacts& training, const char* field) {
  const json ranks = training.in_manifest("/ranks");
  std::set<std::string> values;
  if (ranks.is_array())
    for (const json& rank : ranks)
      if (rank.is_object() && rank.contains(field))
        values.insert(rank[field].is_string() ? rank[field].get<std::string>() : rank[field].dump());
  if (values.empty()) return {};
  return fmt::format("{}", fmt::join(values, ", "));
}

struct RunFact {
  const char* name;
  Cell (*of)(const TrainingFacts&);
};

Cell short_hash(const json& hash) {
  return hash.is_string() ? Cell(hash.get<std::string>().substr(0, 12)) : Cell();
}

Cell config_value(const TrainingFacts& training, const char* key) {
  return training.config.is_object() && training.config.contains(key) ? cell_of(training.config[key]) : Cell();
}

Cell steps_of(const TrainingFacts& training) {
  const json steps = training.in_manifest("/steps");
  const int64_t done = training.rows.empty() ? 0 : training.rows.back().step;
  return steps.is_null() ? Cell(done) : Cell(fmt::format("{} of {}", done, steps.dump()));
}

Cell last_valid_loss(const TrainingFacts& training) {
  Cell last;
  for (const MetricsRow& row : training.rows)
    if (row.valid_loss) last = *row.valid_loss;
  return last;
}

const RunFact kRunFacts[] = {
    {"base model", [](const TrainingFacts& t) { return config_value(t, "model.path"); }},
    {"training corpus", [](const TrainingFacts& t) { return config_value(t, "data.train"); }},
    {"seed", [](const TrainingFacts& t) { return cell_of(t.in_manifest("/seed")); }},
    {"steps", steps_of},
    {"last loss", [](const TrainingFacts& t) { return t.rows.empty() ? Cell() : Cell(t.rows.back().loss); }},
    {"last valid loss", last_valid_loss},
    {"begun", [](const TrainingFacts& t) { return t.begun.empty() ? Cell() : Cell(t.begun); }},
    {"last entry in the log", [](const TrainingFacts& t) { return t.ended.empty() ? Cell() : Cell(t.ended); }},
    {"program", [](const TrainingFacts& t) { return Cell(t.program()); }},
    {"libtorch", [](const TrainingFacts& t) { return cell_of(t.in_manifest("/program/libraries/libtorch")); }},
    {"data-parallel ranks", [](const TrainingFacts& t) { return cell_of(t.in_manifest("/mesh/dp")); }},
    {"tensor-parallel ranks", [](const TrainingFacts& t) { return cell_of(t.in_manifest("/mesh/tp")); }},
    {"hosts", [](const TrainingFacts& t) { return of_ranks(t, "host"); }},
    {"device", [](const TrainingFacts& t) { return of_ranks(t, "device"); }},
    {"processor", [](const TrainingFacts& t) { return of_ranks(t, "cpu"); }},
    {"threads a rank", [](const TrainingFacts& t) { return of_ranks(t, "threads"); }},
    {"corpus sha256", [](const TrainingFacts& t) { return short_hash(t.in_manifest("/corpus_sha256")); }},
    {"start weights sha256", [](const TrainingFacts& t) { return short_hash(t.in_manifest("/weights_sha256")); }},
};

bool is_empty(const std::vector<Cell>& row) {
  return std::all_of(row.begin() + 1, row.end(), [](const Cell& cell) {
    const auto* text = std::get_if<std::string>(&cell);
    return std::holds_alternative<std::monostate>(cell) || (text != nullptr && text->empty());
  });
}

Table runs_table(const Report& report) {
  Table table;
  table.columns = text_columns({"run"});
  std::vector<Cell> folder = {"folder"}, evaluated = {"evaluated"};
  for (size_t i = 0; i < report.runs.size(); ++i) {
    table.columns.push_back({report.runs[i].name, true});
    folder.emplace_back(report.runs[i].path.string());
    std::vector<std::string> models;
    for (const ReportEvaluation& evaluation : report.evaluations)
      if (evaluation.facts.run == i && !evaluation.facts.model.empty() &&
          std::find(models.begin(), models.end(), evaluation.facts.model) == models.end())
        models.push_back(evaluation.facts.model);
    evaluated.emplace_back(fmt::format("{}", fmt::join(models, ", ")));
  }
  table.rows = {folder, evaluated};
  for (const RunFact& fact : kRunFacts) {
    std::vector<Cell>& row = table.rows.emplace_back(std::vector<Cell>{fact.name});
    for (const ReportRun& run : report.runs) row.push_back(run.training ? fact.of(*run.training) : Cell());
  }
  std::erase_if(table.rows, is_empty);
  return table;
}

Table configuration_table(const Report& report) {
  Table table;
  table.columns = text_columns({"key"});
  for (const ReportRun& run : report.runs)
    if (run.training && run.training->config.is_object()) table.columns.push_back({run.name, true});
  for (const std::string& key : differing_keys(report.runs)) {
    std::vector<Cell>& row = table.rows.emplace_back(std::vector<Cell>{key});
    for (const ReportRun& run : report.runs)
      if (run.training && run.training->config.is_object()) row.push_back(config_value(*run.training, key.c_str()));
  }
  return table;
}

Table settings_table(const Report& report) {
  Table table;
  table.columns = text_columns({"setting"});
  for (const ReportEvaluation& evaluation : report.evaluations) table.columns.push_back({evaluation.facts.name, true});
  for (const std::string& key : differing_settings(settings_of(report.evaluations))) {
    std::vector<Cell>& row = table.rows.emplace_back(std::vector<Cell>{key});
    for (const ReportEvaluation& evaluation : report.evaluations)
      row.push_back(evaluation.facts.settings.is_object() ? cell_of(evaluation.facts.settings.value(key, json()))
                                                          : Cell());
  }
  return table;
}

// ---- scores ---------------------------------------------------------------------------------------------------------

// A task's score of an evaluation, of the mean over tasks where `task` is empty; null where there is none.
const TaskScore* score_in(const ReportEvaluation& evaluation, const std::string& task) {
  if (task.empty()) return evaluation.mean ? &*evaluation.mean : nullptr;
  const auto found = std::find_if(evaluation.scores.begin(), evaluation.scores.end(),
                                  [&](const TaskScore& score) { return score.name == task; });
  return found == evaluation.scores.end() ? nullptr : &*found;
}

void add_score_row(Table& table, const TaskScore& score, const std::string& evaluation, double value,
                   const std::optional<Interval>& interval) {
  std::vector<Cell> row = {
      score.name,  evaluation, score.metric, std::string(score.is_lower_better ? "lower" : "higher"),
      score.items, {},         value,        {},
      {}};
  if (score.groups > 0) row[5] = score.groups;
  if (interval) {
    row[7] = interval->low;
    row[8] = interval->high;
  }
  table.rows.push_back(std::move(row));
}

void add_seeds_row(Table& table, const Report& report, const std::string& name, const std::vector<size_t>& side,
                   const std::string& task) {
  std::vector<double> values;
  const TaskScore* first = nullptr;
  for (const size_t i : side)
    if (const TaskScore* score = score_in(report.evaluations[i], task)) {
      if (first == nullptr) first = score;
      values.push_back(score->value);
    }
  if (values.size() < 2) return;
  double mean = 0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  add_score_row(table, *first, fmt::format("{}, mean of {} seeds", name, values.size()), mean, t_interval(values));
}

Table scores_table(const Report& report) {
  Table table;
  table.columns = text_columns({"task", "evaluation", "metric", "better"});
  add_columns(table, {"n", "groups", "score", "95% from", "to"});
  std::set<std::string> tasks;
  for (const ReportEvaluation& evaluation : report.evaluations)
    for (const TaskScore& score : evaluation.scores) tasks.insert(score.name);
  std::vector<std::string> order(tasks.begin(), tasks.end());
  order.emplace_back();  // the mean
  for (const std::string& task : order) {
    for (const ReportEvaluation& evaluation : report.evaluations)
      if (const TaskScore* score = score_in(evaluation, task))
        add_score_row(table, *score, evaluation.facts.name, score->value, score->interval);
    for (const ReportComparison& comparison : report.comparisons) {
      add_seeds_row(table, report, comparison.a, comparison.a_side, task);
      add_seeds_row(table, report, comparison.b, comparison.b_side, task);
    }
  }
  return table;
}

Table differences_table(const Report& report) {
  Table table;
  std::vector<Table> parts;
  for (const ReportComparison& comparison : report.comparisons) parts.push_back(comparison_table(comparison.found));
  for (const Table& part : parts)  // one with a column for seeds where any has
    if (part.columns.size() > table.columns.size()) table.columns = part.columns;
  const auto seed =
      std::find_if(table.columns.begin(), table.columns.end(), [](const auto& c) { return c.name == "seed"; });
  const auto place = seed - table.columns.begin();
  for (size_t i = 0; i < parts.size(); ++i)
    for (std::vector<Cell>& row : parts[i].rows) {
      if (row.size() < table.columns.size()) row.insert(row.begin() + place, Cell());
      row.insert(row.begin(), compared_name(report.comparisons[i]));
      table.rows.push_back(std::move(row));
    }
  table.columns.insert(table.columns.begin(), {"compared", true});
  return table;
}

// ---- what was written -----------------------------------------------------------------------------------------------

// Calls f(evaluation's name, task, statistics) for each task, and, where an evaluation has several, for all of them
// ("all tasks").
template <class F>
void for_each_roles(const Report& report, F&& f) {
  for (const ReportEvaluation& evaluation : report.evaluations) {
    RoleStatistics all;
    for (const auto& [task, roles] : evaluation.roles) {
      f(evaluation.facts.name, task, roles);
      all.add(roles);
    }
    if (evaluation.roles.size() > 1) f(evaluation.facts.name, "all tasks", all);
  }
}

Table outputs_table(const Report& report) {
  Table table;
  table.columns = text_columns({"evaluation", "task"});
  add_columns(table, {"answers", "with a role", "given a role", "nothing extracted", "cut by the limit"});
  for_each_roles(report, [&](const std::string& evaluation, const std::string& task, const RoleStatistics& roles) {
    Cell extracted;
    if (roles.asked_to_extract > 0) extracted = share(roles.nothing_extracted, roles.asked_to_extract);
    table.rows.push_back({evaluation, task, roles.answers, share(roles.with_role, roles.answers),
                          share(roles.given, roles.answers), extracted, share(roles.cut, roles.answers)});
  });
  return table;
}

Table roles_table(const Report& report) {
  Table table;
  table.columns = text_columns({"evaluation", "task"});
  add_columns(table, {"roles", "words, mean", "5%", "median", "95%", "longest"});
  for_each_roles(report, [&](const std::string& evaluation, const std::string& task, const RoleStatistics& roles) {
    if (roles.with_role == 0) return;
    const Lengths words = summarize(roles.words);
    table.rows.push_back({evaluation, task, roles.with_role, share(words.total, words.count), words.p5, words.p50,
                          words.p95, words.max});
  });
  return table;
}

Table experts_table(const Report& report) {
  Table table;
  table.columns = text_columns({"evaluation", "expert"});
  add_columns(table, {"roles", "share of roles"});
  for (const ReportEvaluation& evaluation : report.evaluations) {
    RoleStatistics all;
    for (const auto& [task, roles] : evaluation.roles) all.add(roles);
    for (const auto& [expert, count] : top_experts(all, kExperts))
      table.rows.push_back(
          {evaluation.facts.name, expert.empty() ? "(none named)" : expert, count, share(count, all.with_role)});
  }
  return table;
}

// ---- judgements -----------------------------------------------------------------------------------------------------

template <class T>
Cell cell_of(const std::optional<T>& value) {
  return value ? Cell(*value) : Cell();
}

// `all`: with what is told of all pairs only.
void add_judged_row(Table& table, const ReportJudgement& judgement, const JudgedTask& task, bool all) {
  const JudgedShares& shares = all ? task.all : *task.length_matched;
  const auto fact = [&](Cell cell) { return all ? std::move(cell) : Cell(); };
  const auto number = [&](double value) { return shares.n > 0 ? Cell(value) : Cell(); };
  std::vector<Cell>& row = table.rows.emplace_back();
  for (const std::string& text :
       {task.name, judgement.a, judgement.b, judgement.judge, std::string(judgement.keep_role ? "kept" : "left out"),
        std::string(all ? "all" : "of matched length")})
    row.emplace_back(text);
  row.emplace_back(shares.n);
  for (const JudgedShare& share : {shares.win, shares.tie, shares.lose})
    for (const double value : {share.share, share.low, share.high}) row.push_back(number(value));
  for (const auto& value : {task.first, task.second, task.consistent, task.mean_words_a, task.mean_words_b})
    row.push_back(fact(cell_of(value)));
  for (const int64_t count : {task.identical, task.unparsed, task.unanswered}) row.push_back(fact(count));
}

Table judgements_table(const Report& report) {
  Table table;
  table.columns = text_columns({"task", "A", "B", "judge", "roles", "pairs"});
  add_columns(table, {"n", "A better", "A from", "A to", "tie", "tie from", "tie to", "B better", "B from", "B to",
                      "verdicts for first place", "for second place", "same in both orders", "words of A", "words of B",
                      "identical", "unparsed", "unanswered"});
  for (const ReportJudgement& judgement : report.judgements)
    for (const JudgedTask& task : judgement.tasks)
      for (const bool all : {true, false})
        if (all || task.length_matched) add_judged_row(table, judgement, task, all);
  return table;
}

}  // namespace

std::string compared_name(const ReportComparison& comparison) {
  return fmt::format("{} − {}", comparison.a, comparison.b);
}

std::vector<ReportTable> report_tables(const Report& report) {
  std::vector<ReportTable> tables = {{"runs", runs_table(report)},
                                     {"configuration", configuration_table(report)},
                                     {"settings", settings_table(report)},
                                     {"scores", scores_table(report)},
                                     {"differences", differences_table(report)},
                                     {"outputs", outputs_table(report)},
                                     {"roles", roles_table(report)},
                                     {"experts", experts_table(report)},
                                     {"judgements", judgements_table(report)}};
  std::erase_if(tables, [](const ReportTable& table) { return table.table.rows.empty(); });
  return tables;
}

}  // namespace spt
