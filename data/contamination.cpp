#include "data/contamination.h"

#include <map>
#include <set>
#include <span>

#include <fmt/format.h>

#include "data/word_ngrams.h"

namespace spt {

bool ContaminationIndex::add(const std::string& task, const std::string& item, std::string_view question) {
  const std::vector<std::string> words = words_of(question);
  const std::vector<uint64_t> hashes = ngram_hashes(words, n_);
  if (hashes.empty()) return false;
  const std::set<uint64_t> runs(hashes.begin(), hashes.end());
  for (const uint64_t run : runs) questions_of_[run].push_back(static_cast<uint32_t>(questions_.size()));
  questions_.push_back({task, item, static_cast<int64_t>(runs.size())});
  return true;
}

std::vector<Overlap> ContaminationIndex::find(const std::string& record, const std::vector<std::string>& texts) const {
  std::map<uint32_t, Overlap> found;  // by question
  std::set<uint64_t> seen;
  for (const std::string& text : texts) {
    const std::vector<std::string> words = words_of(text);
    const std::vector<uint64_t> hashes = ngram_hashes(words, n_);
    for (size_t i = 0; i < hashes.size(); ++i) {
      const auto questions = questions_of_.find(hashes[i]);
      if (questions == questions_of_.end() || !seen.insert(hashes[i]).second) continue;
      for (const uint32_t number : questions->second) {
        const Question& question = questions_[number];
        Overlap& overlap = found[number];
        if (overlap.shared++ == 0)
          overlap = {record, question.task, question.item,
                     1,      question.runs, fmt::format("{}", fmt::join(std::span(words).subspan(i, n_), " "))};
      }
    }
  }
  std::vector<Overlap> overlaps;
  for (auto& [number, overlap] : found) overlaps.push_back(std::move(overlap));
  return overlaps;
}

}  // namespace spt
