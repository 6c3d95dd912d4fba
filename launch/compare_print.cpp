#include "launch/compare_print.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "data/printable.h"

namespace spt {
namespace {

using nlohmann::ordered_json;

// Cells with a sign show it: differences and their bounds.
struct Signed {
  double value;
};
struct Probability {
  double value;
};
using Cell = std::variant<std::monostate, std::string, int64_t, double, Signed, Probability>;
using Row = std::vector<Cell>;

const char* better(const TaskComparison& task) {
  return task.is_lower_better ? "lower" : "higher";
}

template <class T>
Cell cell_of(const std::optional<T>& p) {
  return p ? Cell(Probability{*p}) : Cell();
}

// One row a pair, and one over seeds. `names` of the columns are those of the first row; pairs are numbered where there
// are several.
std::vector<Row> table_of(const Comparison& comparison) {
  const bool has_seeds = comparison.tasks[0].pairs.size() > 1;
  std::vector<Row> rows;
  const auto add = [&](const TaskComparison& task, Row values, std::string seed) {
    Row row = {task.name, task.metric, std::string(better(task)), task.items};
    row.push_back(task.groups > 0 ? Cell(task.groups) : Cell());
    if (has_seeds) row.emplace_back(std::move(seed));
    row.insert(row.end(), values.begin(), values.end());
    rows.push_back(std::move(row));
  };
  Row header;
  for (const char* name : {"task", "metric", "better", "n", "groups"}) header.emplace_back(std::string(name));
  if (has_seeds) header.emplace_back(std::string("seed"));
  for (const char* name : {"A", "B", "A - B", "95% from", "to", "p", "Holm p", "McNemar p"})
    header.emplace_back(std::string(name));
  rows.push_back(header);
  std::vector<TaskComparison> tasks = comparison.tasks;
  if (comparison.mean) tasks.push_back(*comparison.mean);
  for (const TaskComparison& task : tasks) {
    for (size_t i = 0; i < task.pairs.size(); ++i) {
      const PairComparison& pair = task.pairs[i];
      const Estimate& d = pair.difference;
      add(task,
          {pair.a, pair.b, Signed{d.value}, Signed{d.low}, Signed{d.high}, Probability{d.p}, cell_of(pair.p_holm),
           cell_of(pair.p_mcnemar)},
          std::to_string(i + 1));
    }
    if (const auto& over = task.over_seeds)
      add(task,
          {over->a, over->b, Signed{over->difference.mean}, Signed{over->difference.low}, Signed{over->difference.high},
           Cell(), Cell(), Cell()},
          "mean");
  }
  return rows;
}

// A cell as people read it; empty where there is nothing.
std::string rounded(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return printable(*text);
  if (const auto* count = std::get_if<int64_t>(&cell)) return std::to_string(*count);
  if (const auto* value = std::get_if<double>(&cell)) return fmt::format("{:.4f}", *value);
  if (const auto* value = std::get_if<Signed>(&cell))
    return std::abs(value->value) < 5e-5 ? "0.0000" : fmt::format("{:+.4f}", value->value);
  if (const auto* p = std::get_if<Probability>(&cell))
    return p->value < 5e-5 ? "<0.0001" : fmt::format("{:.4f}", p->value);
  return {};
}

std::string exact(const Cell& cell) {
  if (const auto* value = std::get_if<double>(&cell)) return fmt::format("{}", *value);
  if (const auto* value = std::get_if<Signed>(&cell)) return fmt::format("{}", value->value);
  if (const auto* p = std::get_if<Probability>(&cell)) return fmt::format("{}", p->value);
  return rounded(cell);
}

std::string on_one_line(std::string text) {
  for (const auto& [character, written] : {std::pair('\n', "\\n"), std::pair('\t', "\\t")})
    for (size_t at = text.find(character); at != std::string::npos; at = text.find(character))
      text.replace(at, 1, written);
  return text;
}

std::string latex_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\textbackslash{}";
    else if (c == '~')
      out += "\\textasciitilde{}";
    else if (c == '^')
      out += "\\textasciicircum{}";
    else if (c == '<')
      out += "\\textless{}";
    else if (c == '>')
      out += "\\textgreater{}";
    else if (std::string_view("&%$#_{}").find(c) != std::string_view::npos)
      out += std::string("\\") + c;
    else
      out += c;
  }
  return out;
}

std::string latex_cell(const Cell& cell) {
  const std::string text = on_one_line(rounded(cell));
  if (std::holds_alternative<Signed>(cell)) return "$" + text + "$";  // a minus, not a hyphen
  return text.empty() ? "--" : latex_escaped(text);
}

size_t columns_of(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string aligned(const std::vector<Row>& rows) {
  std::vector<std::vector<std::string>> cells;
  std::vector<size_t> widths(rows[0].size());
  for (const Row& row : rows) {
    std::vector<std::string>& line = cells.emplace_back();
    for (size_t i = 0; i < row.size(); ++i) {
      line.push_back(on_one_line(rounded(row[i])));
      if (line.back().empty()) line.back() = "-";
      widths[i] = std::max(widths[i], columns_of(line.back()));
    }
  }
  constexpr size_t kTextColumns = 3;
  std::string out;
  for (const auto& line : cells) {
    std::string text;
    for (size_t i = 0; i < line.size(); ++i) {
      const std::string pad(widths[i] - columns_of(line[i]), ' ');
      text += (i == 0 ? "" : "  ") + (i < kTextColumns ? line[i] + pad : pad + line[i]);
    }
    out += text + "\n";
  }
  return out;
}

std::string folders_text(const std::vector<std::filesystem::path>& folders) {
  std::string text;
  for (const auto& folder : folders) text += (text.empty() ? "" : "  ") + on_one_line(printable(folder.string()));
  return text;
}

ordered_json strings(const std::vector<std::filesystem::path>& folders) {
  ordered_json list = ordered_json::array();
  for (const auto& folder : folders) list.push_back(folder.string());
  return list;
}

template <class T>
ordered_json or_null(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

// `is_task`: with what the mean over tasks lacks.
ordered_json facts_of(const TaskComparison& task, bool is_task) {
  ordered_json out = {{"metric", task.metric}, {"better", better(task)}, {"items", task.items}};
  if (is_task) out["groups"] = task.groups > 0 ? ordered_json(task.groups) : ordered_json();
  out["pairs"] = ordered_json::array();
  for (const PairComparison& pair : task.pairs) {
    ordered_json facts = {{"a", pair.a},
                          {"b", pair.b},
                          {"difference", pair.difference.value},
                          {"low", pair.difference.low},
                          {"high", pair.difference.high},
                          {"p", pair.difference.p}};
    if (is_task) {
      facts["p_holm"] = or_null(pair.p_holm);
      facts["p_mcnemar"] = or_null(pair.p_mcnemar);
      facts["only_a"] = or_null(pair.only_a);
      facts["only_b"] = or_null(pair.only_b);
    }
    out["pairs"].push_back(std::move(facts));
  }
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

std::string comparison_text(const CompareOptions& options, const Comparison& comparison) {
  std::string text = fmt::format("A: {}\nB: {}\n", folders_text(options.a), folders_text(options.b));
  text += fmt::format("intervals and p: paired bootstrap, {} resamples, seed {}; scores are means over items\n",
                      options.resampling.count, options.resampling.seed);
  if (comparison.tasks[0].over_seeds) text += "row \"mean\": over seeds, with their t-interval\n";
  text += "\n" + aligned(table_of(comparison));
  if (!comparison.notes.empty()) text += "\n";
  for (const std::string& note : comparison.notes) text += on_one_line(printable(note)) + "\n";
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
  std::string text;
  for (const Row& row : table_of(comparison)) {
    for (size_t i = 0; i < row.size(); ++i) text += (i == 0 ? "" : "\t") + on_one_line(exact(row[i]));
    text += "\n";
  }
  return text;
}

std::string comparison_latex(const Comparison& comparison) {
  const std::vector<Row> rows = table_of(comparison);
  std::string text = fmt::format("\\begin{{tabular}}{{lll{}}}\n\\hline\n", std::string(rows[0].size() - 3, 'r'));
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) text += (i == 0 ? "" : " & ") + latex_cell(row[i]);
    text += " \\\\\n";
    if (&row == &rows[0]) text += "\\hline\n";
  }
  return text + "\\hline\n\\end{tabular}\n";
}

}  // namespace spt
