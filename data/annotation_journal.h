// The journal of an annotation, OUT.jsonl.journal (data/journal.h):
//
//   {"format": "spt-annotation-journal", "version": 1, "input_sha256", "annotator_sha256", "model", "settings"}
//   {"line", "id", "attempt", "text", "fault", "prompt_tokens", "completion_tokens"}   an answer; fault null: it passed
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/chat.h"
#include "data/journal.h"

namespace spt {

// What answers depend on: a journal belongs to one of it.
struct AnnotationSource {
  std::string input_sha256, annotator_sha256;
  std::string model;
  std::string settings;  // of the model: whatever else changes its answers, as JSON
};

struct JournalAnswer {
  int64_t line = 0;  // of the record in the input
  std::string id;
  int64_t attempt = 1;
  std::string text;
  std::optional<std::string> fault;
  TokenUsage usage;
};

class AnnotationJournal {
 public:
  // Errors as Journal's.
  AnnotationJournal(const std::filesystem::path& path, const AnnotationSource& source, bool replace);

  // Found when it was opened, in the order they came.
  const std::vector<JournalAnswer>& found() const { return found_; }
  void append(const JournalAnswer& answer);
  void append_written(const std::vector<std::string>& sha256s) { journal_.append_written(sha256s); }
  bool has_written(const std::string& sha256) const { return journal_.has_written(sha256); }
  void sync() { journal_.sync(); }
  void remove() { journal_.remove(); }

 private:
  Journal journal_;
  std::vector<JournalAnswer> found_;
};

}  // namespace spt
