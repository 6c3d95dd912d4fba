// Answers on disk as they come, so that killed work goes on where it was. JSON lines:
//
//   {"format", "version": 1, …}    the header: what the answers depend on, and notes
//   {…}                            an answer
//   {"written": [sha256, …]}       files made from the answers above, before they get their names
//
// A line is in the kernel's hands when `append` returns, so it survives the process; `sync` makes it survive the
// machine, and is called every second, or every 32 answers, by `append` itself. A torn last line is cut. One process at
// a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace spt {

// How a journal is called, in its header and in messages.
struct JournalKind {
  std::string format;   // "spt-annotation-journal"
  std::string command;  // "spt annotate"
  std::string work;     // "annotation"
  std::string way_out;  // what to do with answers of other work: "choose another --out"
};

struct JournalLine {
  size_t number = 0;  // in its file, from 1
  nlohmann::json value;
};

struct JournalContent {
  std::optional<nlohmann::json> header;  // none where the file has no whole line
  std::vector<JournalLine> answers;
  std::set<std::string> written;
  size_t whole = 0;  // bytes up to the last line end
  std::string rest;  // behind it
};
// Without opening it for writing. Throws BadInput naming the line: no file, another format, a line that is no JSON
// object.
JournalContent read_journal(const std::filesystem::path& path, const JournalKind& kind);

// The keys of `source` that a header has not, or with another value, divided by commas; empty: it is of that source.
std::string differing_keys(const nlohmann::json& header, const nlohmann::json& source);

class Journal {
 public:
  // Opens or makes it. `source`: an object with what the answers depend on; `notes`: one with what else is to stand in
  // a new header. Throws BadInput: another process has it open, a line is broken, or it holds answers of another source
  // and `replace` is false (with the way out); a journal without answers belongs to nobody.
  Journal(std::filesystem::path path, JournalKind kind, const nlohmann::json& source, const nlohmann::json& notes,
          bool replace);
  // Leaves no file behind that holds no answer.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Found when it was opened, in the order they came.
  const std::vector<JournalLine>& found() const { return content_.answers; }
  const nlohmann::json& header() const { return *content_.header; }
  void append(const nlohmann::json& answer);
  void append_written(const std::vector<std::string>& sha256s);  // and syncs
  bool has_written(const std::string& sha256) const { return content_.written.contains(sha256); }
  void sync();
  void remove();  // after it nothing else may be called

 private:
  bool open_locked();
  void open_content(const nlohmann::json& source, const nlohmann::json& notes, bool replace);
  void write_line(const std::string& line);
  void truncate(size_t size);
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path path_;
  JournalKind kind_;
  int descriptor_ = -1;
  JournalContent content_;
  int64_t answers_ = 0, unsynced_ = 0;
  std::chrono::steady_clock::time_point last_sync_;
};

// The message for a line that is not what the program wrote; `line` from 1.
[[noreturn]] void refuse_journal_line(const std::filesystem::path& path, const JournalKind& kind, size_t line,
                                      const std::string& reason);

}  // namespace spt
