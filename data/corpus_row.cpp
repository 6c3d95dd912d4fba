#include "data/corpus_row.h"

#include <algorithm>

namespace spt {

const char* name_of(RowPart part) {
  constexpr const char* kNames[] = {"context", "role", "trained"};
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
  if (tokenizer != nullptr && corpus.info().arm == "role")
    chat_template_ = ChatTemplate::parse(corpus.info().template_text, "the corpus's template");
}

CorpusRow RowReader::read(int64_t row) const {
  const Batch batch = corpus_.batch(std::span(&row, 1));
  const int64_t* ids = batch.ids.const_data_ptr<int64_t>();
  const int64_t* labels = batch.labels.const_data_ptr<int64_t>();
  CorpusRow read;
  read.ids.assign(ids, ids + batch.ids.numel());
  for (int64_t i = 0; i < batch.ids.numel(); ++i) {
    const RowPart part = i > 0 && labels[i - 1] != -100 ? RowPart::kTrained : RowPart::kContext;
    if (read.spans.empty() || read.spans.back().part != part) read.spans.push_back({part, i, i});
    read.spans.back().end = i + 1;
  }
  if (chat_template_) mark_role(read);
  return read;
}

// The first trained span's tokens up to the blank line are the role.
void RowReader::mark_role(CorpusRow& row) const {
  const auto first = std::ranges::find(row.spans, RowPart::kTrained, &RowSpan::part);
  if (first == row.spans.end()) return;
  const auto has_role = [&](int64_t count) {
    return chat_template_->split(row.ids_of({RowPart::kTrained, first->begin, first->begin + count}), *tokenizer_)
        .role.has_value();
  };
  // The shortest beginning in which a role is found ends with its blank line; every longer one holds it as well.
  int64_t least = 0, most = std::min(first->end - first->begin, static_cast<int64_t>(kMaxRoleTokens));
  if (!has_role(most)) return;
  while (least < most) {
    const int64_t middle = (least + most) / 2;
    if (has_role(middle))
      most = middle;
    else
      least = middle + 1;
  }
  const RowSpan role{RowPart::kRole, first->begin, first->begin + most};
  first->begin = role.end;
  const bool only_role = first->begin == first->end;
  const auto place = row.spans.insert(first, role);
  if (only_role) row.spans.erase(place + 1);
}

}  // namespace spt
