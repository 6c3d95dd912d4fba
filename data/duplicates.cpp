#include "data/duplicates.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include <fmt/format.h>

#include "base/durable.h"
#include "base/error.h"
#include "data/output_file.h"
#include "data/utf8.h"
#include "data/word_ngrams.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

constexpr size_t kTextShown = 100;  // bytes

using Shingles = std::vector<uint64_t>;  // sorted, each once

Shingles shingles_of(const std::vector<std::string>& words) {
  Shingles shingles = ngram_hashes(words, std::max<size_t>(1, std::min(kShingleWords, words.size())));
  std::sort(shingles.begin(), shingles.end());
  shingles.erase(std::unique(shingles.begin(), shingles.end()), shingles.end());
  return shingles;
}

double similarity(const Shingles& a, const Shingles& b) {
  size_t both = 0;
  for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
    both += *x == *y;
    const bool next_x = *x <= *y, next_y = *y <= *x;
    x += next_x;
    y += next_y;
  }
  return static_cast<double>(both) / static_cast<double>(a.size() + b.size() - both);
}

// Two sets as similar as asked for have one of these in common: so many of each, its rarest.
Shingles rarest(const Shingles& shingles, const std::unordered_map<uint64_t, size_t>& counts) {
  const auto size = static_cast<double>(shingles.size());
  const auto kept = shingles.size() - static_cast<size_t>(std::ceil(kNearSimilarity * size)) + 1;
  Shingles order = shingles;
  const auto before = [&counts](uint64_t a, uint64_t b) {
    return std::pair(counts.at(a), a) < std::pair(counts.at(b), b);
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(), before);
  order.resize(kept);
  return order;
}

// One line of the table.
std::string shown(std::string_view text) {
  std::string line;
  for (size_t at = 0; at < text.size() && line.size() < kTextShown;) {
    const size_t length = std::max<size_t>(1, utf8_length(text.substr(at)));
    line += static_cast<unsigned char>(text[at]) < 0x20 ? " " : text.substr(at, length);
    at += length;
  }
  return line.size() < text.size() ? line + "…" : line;
}

struct Question {
  std::string place, id;
};

// Appends the first user turns of a file.
void read_questions(const fs::path& path, const RecordOptions& options, std::vector<Question>& questions,
                    std::vector<std::string>& texts) {
  RecordReader reader(path, options);
  while (auto record = reader.next()) {
    questions.push_back({fmt::format("{}:{}", path.string(), record->line), shown(record->id)});
    texts.push_back(std::move(record->turns[0]));
  }
}

}  // namespace

std::vector<DuplicatePair> find_duplicates(const std::vector<std::string>& texts, size_t inputs) {
  std::vector<std::vector<std::string>> words;
  std::vector<Shingles> shingles;
  std::unordered_map<uint64_t, size_t> counts;
  for (const std::string& text : texts) {
    words.push_back(words_of(text));
    shingles.push_back(shingles_of(words.back()));
    for (const uint64_t shingle : shingles.back()) ++counts[shingle];
  }
  std::vector<DuplicatePair> pairs;
  std::unordered_map<uint64_t, std::vector<size_t>> by_shingle;  // texts by their rarest
  std::vector<size_t> candidates;
  for (size_t b = 0; b < texts.size(); ++b) {
    if (shingles[b].empty()) continue;
    candidates.clear();
    for (const uint64_t shingle : rarest(shingles[b], counts)) {
      std::vector<size_t>& earlier = by_shingle[shingle];
      candidates.insert(candidates.end(), earlier.begin(), earlier.end());
      if (b < inputs) earlier.push_back(b);
    }
    std::sort(candidates.begin(), candidates.end());
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    for (const size_t a : candidates) {
      const bool exact = words[a] == words[b];
      const double found = exact ? 1.0 : similarity(shingles[a], shingles[b]);
      if (found >= kNearSimilarity) pairs.push_back({a, b, found, exact});
    }
  }
  std::sort(pairs.begin(), pairs.end(),
            [](const DuplicatePair& x, const DuplicatePair& y) { return std::pair(x.a, x.b) < std::pair(y.a, y.b); });
  return pairs;
}

DuplicatesStatistics report_duplicates(const DuplicatesConfig& config) {
  std::vector<fs::path> read = config.inputs;
  read.insert(read.end(), config.others.begin(), config.others.end());
  check_output(config.out, "--duplicates", read);
  std::error_code error;
  if (fs::exists(config.out, error) && !config.force)
    throw BadInput(fmt::format("{}: exists already: choose another --duplicates, or replace it with --force",
                               config.out.string()));
  std::vector<Question> questions;
  std::vector<std::string> texts;
  for (const fs::path& input : config.inputs)
    read_questions(input, {config.format, RecordUse::kTraining, ""}, questions, texts);
  const size_t inputs = texts.size();
  for (const fs::path& other : config.others)
    read_questions(other, {RecordFormat::kAuto, RecordUse::kPrompts, ""}, questions, texts);

  DuplicatesStatistics statistics{static_cast<int64_t>(questions.size())};
  std::string table = "kind\tsimilarity\tplace\tid\tother_place\tother_id\ttext\n";
  for (const DuplicatePair& pair : find_duplicates(texts, inputs)) {
    ++(pair.exact ? statistics.exact : statistics.near);
    const Question &a = questions[pair.a], &b = questions[pair.b];
    table += fmt::format("{}\t{:.3f}\t{}\t{}\t{}\t{}\t{}\n", pair.exact ? "exact" : "near", pair.similarity, a.place,
                         a.id, b.place, b.id, shown(texts[pair.a]));
  }
  write_durable(config.out, table);
  return statistics;
}

}  // namespace spt
