// Records → corpus: the same bytes for the same input, whatever the number of threads. The files of records are read
// twice, first to check every record and choose, then to encode; what is held in memory is some tens of bytes a record
// (with --roles shuffled, also the roles).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "data/ablation.h"
#include "data/chat_template.h"
#include "data/records.h"
#include "data/selection.h"
#include "data/tokenizer.h"

namespace spt {

// What becomes of a record without a role. kError: refused in the role arm; the plain arm takes it. kDrop: left out and
// counted in both arms, so that the two made from one file hold the same examples.
enum class MissingRole { kError, kDrop };
inline std::vector<std::pair<std::string, MissingRole>> enum_names(MissingRole) {
  return {{"error", MissingRole::kError}, {"drop", MissingRole::kDrop}};
}

struct PrepareConfig {
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path out;
  std::filesystem::path valid_out;  // of the records that selection.valid holds out
  bool force = false;               // replace existing files
  Arm arm = Arm::kRole;
  RecordFormat format = RecordFormat::kAuto;
  MissingRole missing_role = MissingRole::kError;
  int64_t max_tokens = 2048;
  int64_t model_tokens = 0;  // the longest example that the model takes; 0: not known
  int64_t shards = 1;
  int64_t threads = 0;        // that encode; 0: one a core
  SelectionConfig selection;  // an input without a weight counts once
  AblationConfig ablation;
};

struct PrepareStatistics {
  int64_t records = 0;
  int64_t examples = 0;  // in the corpus
  int64_t tokens = 0;
  int64_t trained_tokens = 0;
  int64_t longest = 0;       // tokens of the longest example
  int64_t beyond_model = 0;  // examples longer than model_tokens, those held out too
  int64_t truncated = 0;     // examples cut at max_tokens; they have no EOS at their end
  int64_t dropped_too_long =
      0;  // no trained token within max_tokens; it depends on the first question alone, not on the arm
  int64_t dropped_without_role = 0;
  int64_t without_role = 0;  // records without a role, kept or dropped
  int64_t dropped_trailing_turns = 0;
  int64_t long_roles =
      0;  // role arm: roles that `ChatTemplate::split` would not find, being longer than kMaxRoleTokens
  int64_t without_restatement = 0;  // roles in which --no-restatement found nothing to leave out
  int64_t valid_examples = 0;       // in the corpus of what is held out
};

// Throws BadInput and leaves no file: an existing `out` without `force`, an `out` that is an input or whose folder is
// missing, an input that is no regular file or is given twice, a source that no record has, everything parse_record,
// choose and AblationConfig::check refuse, missing roles (how many, and the first lines), an id that stands twice, no
// example left. With several inputs, a record without an "id" is called FILE:LINE, where FILE is the input's name with
// as many of its folders as tell it from the others; copies of a record are ID, ID#2, ID#3, …
PrepareStatistics prepare(const PrepareConfig& config, const ChatTemplate& chat_template, const Tokenizer& tokenizer);

}  // namespace spt
