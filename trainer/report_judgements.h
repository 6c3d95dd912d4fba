// Reads the judgement.json files that spt judge leaves in EVALUATION/judge/NAME/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace spt {

struct JudgedShare {
  double share = 0, low = 0, high = 0;  // with its 95% interval; meaningless where the n it belongs to is 0
};

struct JudgedShares {
  int64_t n = 0;               // pairs with an outcome
  JudgedShare win, tie, lose;  // of A
};

struct JudgedTask {
  std::string name;
  JudgedShares all;
  std::optional<JudgedShares> length_matched;  // pairs of answers of matched length
  // Of all verdicts: for the answer shown first, and second; of all pairs: with one verdict in both orders.
  std::optional<double> first, second, consistent;
  std::optional<double> mean_words_a, mean_words_b;
  int64_t identical = 0, unparsed = 0, unanswered = 0;  // pairs
  std::vector<std::string> notes;
};

struct ReportJudgement {
  std::filesystem::path file;
  std::string a, b;                      // names of the report's evaluations, or the folders that spt judge was given
  std::string a_identity, b_identity;    // of the evaluations (results.json)
  std::optional<size_t> a_side, b_side;  // places among the report's evaluations
  std::string judge;                     // the model's name
  std::string place;  // where it ran: the endpoint or the checkpoint; empty where the file does not say
  bool keep_role = false;
  std::vector<JudgedTask> tasks;  // by name
};

// All judgements below an evaluation folder, by the name of their folder, without their sides; none where there is no
// folder `judge`. Throws BadInput naming the file: not what spt judge writes, or a newer version.
std::vector<ReportJudgement> judgements_below(const std::filesystem::path& evaluation);

}  // namespace spt
