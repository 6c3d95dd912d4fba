#include "data/corpus_statistics.h"

#include "data/corpus_row.h"

namespace spt {
namespace {

constexpr int64_t kMaxBins = 16;

}  // namespace

CorpusStatistics corpus_statistics(const Dataset& corpus, const Tokenizer* tokenizer) {
  CorpusStatistics found;
  if (tokenizer != nullptr) found.roles.emplace();
  std::map<std::string, std::vector<int64_t>> by_source;
  const RowReader reader(corpus, tokenizer);
  for (int64_t i = 0; i < corpus.size(); ++i) {
    const CorpusRow row = reader.read(i);
    by_source[corpus.source(i)].push_back(static_cast<int64_t>(row.ids.size()));
    for (const RowSpan& span : row.spans) {
      const int64_t tokens = span.end - span.begin;
      if (is_trained(span.part)) found.trained_tokens += tokens;
      if (!is_role(span.part)) continue;
      ++found.roles->examples;
      found.roles->tokens += tokens;
      if (is_trained(span.part)) found.roles->trained += tokens;
    }
  }
  found.tokens = summarize(corpus.lengths());
  found.histogram = histogram(corpus.lengths(), kMaxBins);
  for (auto& [source, lengths] : by_source) found.by_source[source] = summarize(std::move(lengths));
  return found;
}

}  // namespace spt
