// The examples of a corpus as a person reads them: what is context, what is the role, what else is trained.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/chat_template.h"
#include "data/dataset.h"
#include "data/tokenizer.h"

namespace spt {

enum class RowPart { kContext, kUntrainedRole, kRole, kTrained };
const char* name_of(RowPart part);  // "context", "untrained role", "role", "trained"
inline bool is_role(RowPart part) {
  return part == RowPart::kRole || part == RowPart::kUntrainedRole;
}
inline bool is_trained(RowPart part) {
  return part == RowPart::kRole || part == RowPart::kTrained;
}

// Tokens [begin, end) of a row that belong together.
struct RowSpan {
  RowPart part;
  int64_t begin, end;
};

struct CorpusRow {
  std::vector<int32_t> ids;
  std::vector<RowSpan> spans;  // cover the ids, in order

  std::vector<int32_t> ids_of(const RowSpan& span) const { return {ids.begin() + span.begin, ids.begin() + span.end}; }
  // Special tokens as they are written.
  std::string text_of(const RowSpan& span, const Tokenizer& tokenizer) const;
};

class RowReader {
 public:
  // Without a tokenizer, or in a plain corpus, no span is a role. Throws BadInput where the corpus was made with
  // another tokenizer. Both must outlive the reader.
  RowReader(const Dataset& corpus, const Tokenizer* tokenizer);

  // Throws as Dataset::batch.
  CorpusRow read(int64_t row) const;

 private:
  void mark_role(CorpusRow& row) const;
  void mark_untrained_role(CorpusRow& row) const;
  // Tokens from `begin` on that are a role with its blank line; 0: none.
  int64_t role_tokens(const CorpusRow& row, int64_t begin) const;

  const Dataset& corpus_;
  const Tokenizer* tokenizer_;
  std::optional<ChatTemplate> chat_template_;  // of a role corpus that can be decoded
  bool role_loss_ = true;
};

}  // namespace spt
