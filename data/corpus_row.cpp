#include "data/corpus_row.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace spt {

const char* name_of(RowPart part) {
  constexpr const char* kNames[] = {"context", "untrained role", "role", "trained"};
  return kNames[static_cast<size_t>(part)];
}

std::string CorpusRow::text_of(const RowSpan& span, const Tokenizer& tokenizer) const {
  std::string text;
  std::vector<int32_t> plain;
  bool at_start = span.begin == 0;
  const auto end_plain = [&] {
    if (plain.empty()) return;
    text += tokenizer.decode(plain, at_start);
    at_start = false;
    plain.clear();
  };
  for (int64_t i = span.begin; i < span.end; ++i) {
    const int32_t id = ids[static_cast<size_t>(i)];
    const std::string piece = tokenizer.piece(id);
    if (tokenizer.special(piece) == id) {
      end_plain();
      text += piece;
    } else {
      plain.push_back(id);
    }
  }
  end_plain();
  return text;
}

RowReader::RowReader(const Dataset& corpus, const Tokenizer* tokenizer) : corpus_(corpus), tokenizer_(tokenizer) {
  if (tokenizer == nullptr || corpus.info().arm != "role") return;
  chat_template_ = ChatTemplate::parse(corpus.info().template_text, "the corpus's template");
  const auto ablation = nlohmann::json::parse(corpus.info().ablation, nullptr, false);
  role_loss_ = !ablation.is_object() || !ablation.contains("role_loss") || ablation["role_loss"] != false;
}

CorpusRow RowReader::read(int64_t row) const {
  const Batch batch = corpus_.batch(std::span(&row, 1));
  const int64_t* ids = batch.ids.const_data_ptr<int64_t>();
  const int64_t* labels = batch.labels.const_data_ptr<int64_t>();
  CorpusRow read;
  read.ids.assign(ids, ids + batch.ids.numel());
  for (int64_t i = 0; i < batch.ids.numel(); ++i) {
    const RowPart part = i > 0 && labels[i - 1] != kNotTrained ? RowPart::kTrained : RowPart::kContext;
    if (read.spans.empty() || read.spans.back().part != part) read.spans.push_back({part, i, i});
    read.spans.back().end = i + 1;
  }
  if (chat_template_) role_loss_ ? mark_role(read) : mark_untrained_role(read);
  return read;
}

int64_t RowReader::role_tokens(const CorpusRow& row, int64_t begin) const {
  const auto has_role = [&](int64_t count) {
    return chat_template_->split(row.ids_of({RowPart::kRole, begin, begin + count}), *tokenizer_).role.has_value();
  };
  // The shortest beginning in which a role is found ends with its blank line; every longer one holds it as well.
  const auto end = static_cast<int64_t>(row.ids.size());
  int64_t least = 0, most = std::min(end - begin, static_cast<int64_t>(kMaxRoleTokens));
  if (!has_role(most)) return 0;
  while (least < most) {
    const int64_t middle = (least + most) / 2;
    if (has_role(middle))
      most = middle;
    else
      least = middle + 1;
  }
  return most;
}

// The first trained span's tokens up to the blank line are the role.
void RowReader::mark_role(CorpusRow& row) const {
  const auto first = std::ranges::find(row.spans, RowPart::kTrained, &RowSpan::part);
  if (first == row.spans.end()) return;
  const RowSpan role{RowPart::kRole, first->begin, std::min(first->end, first->begin + role_tokens(row, first->begin))};
  if (role.begin == role.end) return;
  first->begin = role.end;
  const bool only_role = first->begin == first->end;
  const auto place = row.spans.insert(first, role);
  if (only_role) row.spans.erase(place + 1);
}

// Without loss on the role, its tokens end the first span of context; they begin behind what the template puts between
// the user's turn and the assistant's.
void RowReader::mark_untrained_role(CorpusRow& row) const {
  constexpr int64_t kLookedAt = 8;  // tokens that show whether a text begins like a role, before more is decoded
  if (row.spans.size() < 2) return;
  RowSpan& context = row.spans[0];
  const std::string mark = chat_template_->mark_before_answer(*tokenizer_);
  for (int64_t begin = context.end - 1; begin > std::max<int64_t>(0, context.end - 1 - kMaxRoleTokens); --begin) {
    const auto beginning = row.ids_of({RowPart::kRole, begin, std::min(context.end, begin + kLookedAt)});
    if (!chat_template_->split(beginning, *tokenizer_).output.starts_with(chat_template_->role_prefix())) continue;
    if (!row.text_of({RowPart::kContext, 0, begin}, *tokenizer_).ends_with(mark)) continue;
    if (begin + role_tokens(row, begin) < context.end) continue;
    const RowSpan role{RowPart::kUntrainedRole, begin, context.end};
    context.end = begin;
    row.spans.insert(row.spans.begin() + 1, role);
    return;
  }
}

}  // namespace spt
