// The usual contamination test: which texts share a run of n words (13 in the literature) with a benchmark's questions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace spt {

// One record and one question that share words.
struct Overlap {
  std::string record, task, item;
  int64_t shared = 0;  // runs of the question, each counted once, that stand in the record
  int64_t runs = 0;    // runs that the question has
  std::string words;   // the first such run, in lower case
};

class ContaminationIndex {
 public:
  // `n`: words of a run, at least 1.
  explicit ContaminationIndex(size_t n) : n_(n) {}

  // Returns false, and looks for nothing, where the question has fewer than n words.
  bool add(const std::string& task, const std::string& item, std::string_view question);

  // The overlaps of one record with all questions added so far, in the order these were added. No run reaches over the
  // end of a text.
  std::vector<Overlap> find(const std::string& record, const std::vector<std::string>& texts) const;

 private:
  struct Question {
    std::string task, item;
    int64_t runs;
  };

  size_t n_;
  std::vector<Question> questions_;
  std::unordered_map<uint64_t, std::vector<uint32_t>> questions_of_;  // by the hash of a run
};

}  // namespace spt
