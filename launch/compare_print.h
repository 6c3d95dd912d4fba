// A comparison as people, scripts and papers read it.
#pragma once

#include <string>

#include "launch/table.h"
#include "trainer/eval/comparison.h"

namespace spt {

// A row a pair, numbered where there are several, and one over seeds.
Table comparison_table(const Comparison& comparison);

// On a terminal: what is compared, one table, notes. No name in it can speak to the terminal (data/printable.h).
std::string comparison_text(const CompareOptions& options, const Comparison& comparison);

// All numbers with all digits; null where there is none.
//
//   {"a": [folder, …], "b": […], "resamples", "seed", "confidence",
//    "tasks": {TASK: {"metric", "better": "higher" | "lower", "items", "groups",
//                     "pairs": [{"a", "b", "difference", "low", "high", "p", "p_holm", "p_mcnemar", "only_a",
//                     "only_b"}, …], "over_seeds": {"a", "b", "difference", "low", "high"}}},
//    "mean": {"name", …, as a task without p_holm, p_mcnemar, only_a and only_b}, "notes": [text, …]}
std::string comparison_json(const CompareOptions& options, const Comparison& comparison);

// The table alone: a line a row, cells divided by tabs, all digits; a tab or line feed in a name is written \t or \n.
std::string comparison_tsv(const Comparison& comparison);

// The table alone, as a tabular of LaTeX that needs no package.
std::string comparison_latex(const Comparison& comparison);

}  // namespace spt
