// Every answer on disk as it comes, so that a killed annotation goes on where it was. JSON lines in OUT.jsonl.journal:
//
//   {"format": "spt-annotation-journal", "version": 1, "input_sha256", "annotator_sha256", "model", "settings"}
//   {"line", "id", "attempt", "text", "fault", "prompt_tokens", "completion_tokens"}   an answer; fault null: it passed
//   {"written": [sha256, …]}                              files made from the answers above, before they get their
//   names
//
// A line is in the kernel's hands when `append` returns, so it survives the process; `sync` makes it survive the
// machine. A torn last line is cut. One process at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "data/chat.h"

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
  // Opens or makes it. Throws BadInput: another process has it open, a line is broken, or it holds answers of another
  // source and `replace` is false (with the way out); a journal without answers belongs to nobody.
  AnnotationJournal(std::filesystem::path path, const AnnotationSource& source, bool replace);
  // Leaves no file behind that holds no answer.
  ~AnnotationJournal();
  AnnotationJournal(const AnnotationJournal&) = delete;
  AnnotationJournal& operator=(const AnnotationJournal&) = delete;

  // Found when it was opened, in the order they came.
  const std::vector<JournalAnswer>& found() const { return found_; }
  void append(const JournalAnswer& answer);
  void append_written(const std::vector<std::string>& sha256s);  // and syncs
  bool has_written(const std::string& sha256) const { return written_.contains(sha256); }
  void sync();
  void remove();  // after it nothing else may be called

 private:
  void read(const AnnotationSource& source, bool replace);
  void write_line(const std::string& line);
  void truncate(int64_t size);
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::vector<JournalAnswer> found_;
  std::set<std::string> written_;
  int64_t answers_ = 0;
};

}  // namespace spt
