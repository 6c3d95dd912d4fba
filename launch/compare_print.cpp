#include "launch/compare_print.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/table.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

const char* better(const TaskComparison& task) {
  return task.is_lower_better ? "lower" : "higher";
}

Cell probability(const std::optional<double>& p) {
  return p ? Cell(Probability{*p}) : Cell();
}

// What stands in front of a row's numbers; `seed` where there are several.
std::vector<Cell> row_of(const TaskComparison& task, const std::string& seed) {
  std::vector<Cell> row;
  for (const std::string& text : {task.name, task.metric, std::string(better(task))}) row.emplace_back(text);
  row.emplace_back(task.items);
  row.emplace_back();
  if (task.groups > 0) row.back() = task.groups;
  if (task.pairs.size() > 1) row.emplace_back(seed);
  return row;
}

void add_rows(const TaskComparison& task, Table& table) {
  for (size_t i = 0; i < task.pairs.size(); ++i) {
    const PairComparison& pair = task.pairs[i];
    const Estimate& d = pair.difference;
    std::vector<Cell>& row = table.rows.emplace_back(row_of(task, std::to_string(i + 1)));
    row.insert(row.end(), {pair.a, pair.b, Signed{d.value}, Signed{d.low}, Signed{d.high}, Probability{d.p},
                           probability(pair.p_holm), probability(pair.p_mcnemar)});
  }
  if (!task.over_seeds) return;
  const Interval& d = task.over_seeds->difference;
  std::vector<Cell>& row = table.rows.emplace_back(row_of(task, "mean"));
  row.insert(row.end(), {task.over_seeds->a, task.over_seeds->b, Signed{d.mean}, Signed{d.low}, Signed{d.high}, Cell(),
                         Cell(), Cell()});
}

std::string folders_text(const std::vector<fs::path>& folders) {
  std::string text;
  for (const fs::path& folder : folders) text += (text.empty() ? "" : "  ") + on_one_line(folder.string());
  return text;
}

ordered_json strings(const std::vector<fs::path>& folders) {
  ordered_json list = ordered_json::array();
  for (const fs::path& folder : folders) list.push_back(folder.string());
  return list;
}

template <class T>
ordered_json or_null(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

// `is_task`: with what the mean over tasks lacks.
ordered_json facts_of(const PairComparison& pair, bool is_task) {
  const Estimate& d = pair.difference;
  ordered_json facts = {{"a", pair.a},  {"b", pair.b},    {"difference", d.value},
                        {"low", d.low}, {"high", d.high}, {"p", d.p}};
  if (!is_task) return facts;
  facts["p_holm"] = or_null(pair.p_holm);
  facts["p_mcnemar"] = or_null(pair.p_mcnemar);
  facts["only_a"] = or_null(pair.only_a);
  facts["only_b"] = or_null(pair.only_b);
  return facts;
}

ordered_json facts_of(const TaskComparison& task, bool is_task) {
  ordered_json out = {{"metric", task.metric}, {"better", better(task)}, {"items", task.items}};
  if (is_task) out["groups"] = task.groups > 0 ? ordered_json(task.groups) : ordered_json();
  out["pairs"] = ordered_json::array();
  for (const PairComparison& pair : task.pairs) out["pairs"].push_back(facts_of(pair, is_task));
  out["over_seeds"] = nullptr;
  if (const auto& over = task.over_seeds)
    out["over_seeds"] = {{"a", over->a},
                         {"b", over->b},
                         {"difference", over->difference.mean},
                         {"low", over->difference.low},
                         {"high", over->difference.high}};
  return out;
}

}  // namespace

Table comparison_table(const Comparison& comparison) {
  Table table;
  for (const char* name : {"task", "metric", "better"}) table.columns.push_back({name, true});
  for (const char* name : {"n", "groups"}) table.columns.push_back({name});
  if (comparison.tasks[0].pairs.size() > 1) table.columns.push_back({"seed"});
  for (const char* name : {"A", "B", "A - B", "95% from", "to", "p", "Holm p", "McNemar p"})
    table.columns.push_back({name});
  for (const TaskComparison& task : comparison.tasks) add_rows(task, table);
  if (comparison.mean) add_rows(*comparison.mean, table);
  return table;
}

std::string comparison_text(const CompareOptions& options, const Comparison& comparison) {
  std::string text = fmt::format("A: {}\nB: {}\n", folders_text(options.a), folders_text(options.b));
  text += fmt::format("intervals and p: paired bootstrap, {} resamples, seed {}; scores are means over items\n",
                      options.resampling.count, options.resampling.seed);
  if (comparison.tasks[0].over_seeds) text += "seed \"mean\": over seeds, with their t-interval\n";
  text += "\n" + aligned_table(comparison_table(comparison));
  if (!comparison.notes.empty()) text += "\n";
  for (const std::string& note : comparison.notes) text += on_one_line(note) + "\n";
  return text;
}

std::string comparison_json(const CompareOptions& options, const Comparison& comparison) {
  ordered_json out = {{"a", strings(options.a)},
                      {"b", strings(options.b)},
                      {"resamples", options.resampling.count},
                      {"seed", options.resampling.seed},
                      {"confidence", kConfidence},
                      {"tasks", ordered_json::object()},
                      {"mean", nullptr},
                      {"notes", comparison.notes}};
  for (const TaskComparison& task : comparison.tasks) out["tasks"][task.name] = facts_of(task, true);
  if (comparison.mean) {
    out["mean"] = {{"name", comparison.mean->name}};
    out["mean"].update(facts_of(*comparison.mean, false));
  }
  // ASCII only: nothing in a name can speak to a terminal.
  return out.dump(2, ' ', true, ordered_json::error_handler_t::replace) + "\n";
}

std::string comparison_tsv(const Comparison& comparison) {
  return tab_separated_table(comparison_table(comparison));
}

std::string comparison_latex(const Comparison& comparison) {
  return latex_table(comparison_table(comparison));
}

}  // namespace spt
