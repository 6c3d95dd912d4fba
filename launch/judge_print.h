// A judgement as people, scripts and papers read it.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "trainer/eval/judging.h"

namespace spt {

struct Judgement {
  std::vector<TaskJudgement> tasks;
  double length_factor = 1;
};

// On a terminal: who judged what, outcomes, position bias, notes. The judge is named in every table. Nothing in it can
// speak to the terminal (data/printable.h).
std::string judgement_text(const Judging& judging, const Judgement& judgement);

// All numbers with all digits; null where there is none. As OUT/judgement.json has it:
//
//   {"format": "spt-judgement", "version": 1, "a": folder, "b", "a_evaluation", "b_evaluation",
//    "judge": {"model", "endpoint" | "checkpoint", "prompt": name of the judge file, "prompt_sha256", "keep_role"},
//    "confidence", "interval": "wilson",
//    "tasks": {TASK: {"n": pairs with an outcome, "win": S, "tie": S, "lose": S, "win_rate_without_ties": S,
//                     "position_bias": {"calls", "first", "second", "none", "consistent"},
//                     "length_matched": {"factor", "n", "win": S, "tie": S, "lose": S, "win_rate_without_ties": S},
//                     "mean_words": {"a", "b"}, "pairs", "identical", "unparsed", "unparsed_share", "unanswered",
//                     "limit": null or the first pairs that were looked at, "notes": [text, …]}}}
//
// S: {"count", "share", "low", "high"}. calls: verdicts in both orders; first, second, none: their shares; consistent:
// share of pairs with the same verdict in both orders. n, unparsed and unanswered make up pairs.
nlohmann::ordered_json judgement_json(const Judging& judging, const Judgement& judgement);

// Both tables, an empty line between them: cells divided by tabs, all digits.
std::string judgement_tsv(const Judging& judging, const Judgement& judgement);

// Both tables, each as a tabular of LaTeX that needs no package.
std::string judgement_latex(const Judging& judging, const Judgement& judgement);

}  // namespace spt
